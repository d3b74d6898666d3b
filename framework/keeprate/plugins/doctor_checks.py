"""Check what plugins need: packages, the machine, the results folder, time to import."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from ..hookspecs import PROJECT
from .author_errors import describe_error
from .discovery import Source

_FOR_AUTHORS = frozenset({"dev", "develop", "test", "tests", "testing", "doc", "docs", "lint"})
"""Extras that users of a package do not need."""


def packages(sources: Iterable[Source]) -> Iterator[Diagnostic]:
    """Yield the unmet requirements of each package that offers a plugin."""
    names = [
        source.origin.rpartition(" ")[0] for source in sources if not source.target.endswith(".py")
    ]
    for name in dict.fromkeys(filter(None, names)):
        try:
            package = distribution(name)
        except PackageNotFoundError:  # a source that is no package, such as an unknown name
            continue
        yield from _unmet_requirements(package)
        yield from _missing_extras(package)


def _unmet_requirements(package: Distribution) -> Iterator[Diagnostic]:
    for requirement in _requirements(package):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if not _is_met(requirement):
            installed = _version(requirement.name)
            yield problem(
                f"package {package.name} {package.version}",
                f"it requires {_requirement_text(requirement)}, and "
                f"{_installed_text(requirement.name, installed)}",
                _remedy(package.name, requirement),
            )


def _missing_extras(package: Distribution) -> Iterator[Diagnostic]:
    """Yield a note for each extra of which a package is missing or too old."""
    for extra in package.metadata.get_all("Provides-Extra") or ():
        missing = [
            _requirement_text(requirement)
            for requirement in _requirements(package)
            if requirement.marker is not None
            and requirement.marker.evaluate({"extra": extra})
            and not requirement.marker.evaluate({"extra": ""})
            and not _is_met(requirement)
        ]
        if missing and extra not in _FOR_AUTHORS:
            yield note(
                f"package {package.name} {package.version}",
                f"its extra '{extra}' is not there: {', '.join(missing)}",
                f"What needs it says so. To have it: pip install '{package.name}[{extra}]'.",
            )


def _requirements(package: Distribution) -> Iterator[Requirement]:
    for text in package.requires or ():
        try:
            yield Requirement(text)
        except InvalidRequirement:  # pip has installed the package in spite of it
            continue


def _is_met(requirement: Requirement) -> bool:
    installed = _version(requirement.name)
    # a pre-release that somebody has installed is meant to be used
    return installed is not None and requirement.specifier.contains(installed, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _requirement_text(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _installed_text(name: str, installed: str | None) -> str:
    return f"{name} is not installed" if installed is None else f"{name} {installed} is installed"


def _remedy(package: str, requirement: Requirement) -> str:
    if canonicalize_name(requirement.name) == PROJECT:
        return f"Install a version of {package} that is made for it: pip install -U {package}."
    return f"pip install '{_requirement_text(requirement)}'."


@dataclass(frozen=True)
class Machine:
    """Versions by name, the device as people call it, and the problems with both."""

    versions: dict[str, str]
    device: str
    findings: tuple[Diagnostic, ...] = ()


def machine() -> Machine:
    """Return what a run would run on; a library that cannot be imported is a finding."""
    python = {"python": platform.python_version()}
    try:
        # imported here, because torch itself may be what is broken
        from .._devices import device_name, device_of
        from ..results.environment import versions

        return Machine({**python, **versions()}, device_name(device_of("auto")))
    except Exception as error:
        remedy = "Install keeprate anew: pip install --force-reinstall keeprate."
        return Machine(python, "unknown", (problem("libraries", describe_error(error)[0], remedy),))


def store(folder: Path) -> Iterator[Diagnostic]:
    """Yield a problem if results could not be written into `folder`, which need not exist."""
    remedy = "Name another with --runs FOLDER, or change its permissions."
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        yield problem(f"results in {folder}", f"{existing} is not a folder", remedy)
        return
    try:
        if existing == folder:
            # tried in earnest: permissions say little as root or on a network's file system
            with tempfile.TemporaryFile(dir=folder):
                return
    except OSError as error:
        yield problem(f"results in {folder}", f"it cannot be written: {error.strerror}", remedy)
        return
    if not os.access(existing, os.W_OK | os.X_OK):
        yield problem(f"results in {folder}", f"it cannot be made in {existing}", remedy)


TIMEOUT_SECONDS = 120
"""The doctor stops waiting for the import of a plugin after this time."""


HEAVY = ("altair", "lightning", "numpy", "polars", "scipy", "timm", "torch", "transformers")
"""Large libraries that are named where a plugin imports them."""


_CODE = """
import json, sys
asked = json.loads(sys.argv[1])
sys.path[:] = asked["path"]
from keeprate.plugins.doctor_checks import import_here
told = import_here(asked["target"])
sys.stderr.flush()
print("\\n" + json.dumps(told), flush=True)
"""


@dataclass(frozen=True)
class Imported:
    """What the import of a plugin took: seconds, and the heavy libraries that it imported.

    `ended` says how the import ended the process, None if it came back with or without an error.
    """

    seconds: float
    heavy: tuple[str, ...] = ()
    ended: str | None = None


def import_times(sources: Iterable[Source]) -> dict[Source, Imported]:
    """Import each plugin that is not keeprate's own, one after another, in a new process each."""
    return {
        source: _import_time(source)
        for source in sources
        if source.target and not source.is_builtin
    }


def import_here(target: str) -> dict[str, object]:
    """Import a plugin file or a module in this process and return what that took."""
    import time
    from importlib import import_module
    from pathlib import Path

    from .discovery import imported

    start = time.perf_counter()
    with suppress(Exception, SystemExit):  # loading the plugin later reports it
        imported(Path(target)) if target.endswith(".py") else import_module(target)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "heavy": [name for name in HEAVY if name in sys.modules]}


def _import_time(source: Source) -> Imported:
    request = json.dumps({"path": sys.path, "target": source.target})
    try:
        process = subprocess.run(
            [sys.executable, "-c", _CODE, request],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Imported(TIMEOUT_SECONDS, ended=f"not done after {TIMEOUT_SECONDS} s")
    try:
        # the last line: the plugin may print as well
        reply = json.loads(process.stdout.splitlines()[-1])
        return Imported(reply["seconds"], tuple(reply["heavy"]))
    except (IndexError, ValueError, TypeError, KeyError):
        return Imported(0.0, ended=_exit_text(process.returncode))


def _exit_text(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"


@dataclass(frozen=True)
class Diagnostic:
    """One thing the doctor found: a problem, or a note on what works and could be better.

    `place` is "FILE:LINE" or ""; `remedy` says what to do about it.
    """

    is_problem: bool
    subject: str
    said: str
    remedy: str
    place: str = ""


def problem(subject: str, said: str, remedy: str, place: str = "") -> Diagnostic:
    """Return a finding that must be mended."""
    return Diagnostic(True, subject, said, remedy, place)


def note(subject: str, said: str, remedy: str, place: str = "") -> Diagnostic:
    """Return a finding that may stay as it is."""
    return Diagnostic(False, subject, said, remedy, place)
