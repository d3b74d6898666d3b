"""Whether the packages that plugins come from, keeprate's own included, fit together."""

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
"""Extras that those who only use a package do not need."""


def packages(sources: Iterable[Source]) -> Iterator[Diagnostic]:
    """Yield the requirements that are not met, of each package that offers a plugin."""
    names = [each.origin.rpartition(" ")[0] for each in sources if not each.target.endswith(".py")]
    for name in dict.fromkeys(filter(None, names)):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        yield from _unmet(found)
        yield from _missing_extras(found)


def _unmet(package: Distribution) -> Iterator[Diagnostic]:
    for wanted in _requirements(package):
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        if not _is_met(wanted):
            have = _version(wanted.name)
            yield problem(
                f"package {package.name} {package.version}",
                f"it requires {_written(wanted)}, and {_there(wanted.name, have)}",
                _remedy(package.name, wanted),
            )


def _missing_extras(package: Distribution) -> Iterator[Diagnostic]:
    """Yield a note for every extra of which something is not installed, or not new enough."""
    for extra in package.metadata.get_all("Provides-Extra") or ():
        missing = [
            _written(each)
            for each in _requirements(package)
            if each.marker is not None
            and each.marker.evaluate({"extra": extra})
            and not each.marker.evaluate({"extra": ""})
            and not _is_met(each)
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
        except InvalidRequirement:
            continue


def _is_met(wanted: Requirement) -> bool:
    have = _version(wanted.name)
    return have is not None and wanted.specifier.contains(have, prereleases=True)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _written(wanted: Requirement) -> str:
    return f"{wanted.name}{wanted.specifier}"


def _there(name: str, have: str | None) -> str:
    return f"{name} is not installed" if have is None else f"{name} {have} is installed"


def _remedy(package: str, wanted: Requirement) -> str:
    if canonicalize_name(wanted.name) == PROJECT:
        return f"Install a version of {package} that is made for it: pip install -U {package}."
    return f"pip install '{_written(wanted)}'."


@dataclass(frozen=True)
class Machine:
    """Versions by name, the device for people, and what is wrong with them."""

    versions: dict[str, str]
    device: str
    findings: tuple[Diagnostic, ...] = ()


def machine() -> Machine:
    """Return what a run would run on; libraries that cannot be imported are a finding."""
    python = {"python": platform.python_version()}
    try:
        from .._devices import device_name, device_of
        from ..results.environment import versions

        return Machine({**python, **versions()}, device_name(device_of("auto")))
    except Exception as error:
        remedy = "Install keeprate anew: pip install --force-reinstall keeprate."
        return Machine(python, "unknown", (problem("libraries", describe_error(error)[0], remedy),))


def store(folder: Path) -> Iterator[Diagnostic]:
    """Yield a problem if results could not be written into `folder`, which need not be there."""
    remedy = "Name another with --runs FOLDER, or change its permissions."
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        yield problem(f"results in {folder}", f"{there} is not a folder", remedy)
        return
    try:
        if there == folder:
            with tempfile.TemporaryFile(dir=folder):
                return
    except OSError as error:
        yield problem(f"results in {folder}", f"it cannot be written: {error.strerror}", remedy)
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield problem(f"results in {folder}", f"it cannot be made in {there}", remedy)


TIMEOUT_SECONDS = 120
"""A plugin that has not been imported after so long is given up."""


HEAVY = ("altair", "lightning", "numpy", "polars", "scipy", "timm", "torch", "transformers")
"""Libraries that are worth naming where a plugin imports them."""


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
    """What importing a plugin took: seconds, the heavy libraries it brought, how it ended if not.

    `ended` is None where the import came back, with or without an error.
    """

    seconds: float
    heavy: tuple[str, ...] = ()
    ended: str | None = None


def import_times(sources: Iterable[Source]) -> dict[Source, Imported]:
    """Import every plugin that is not keeprate's own, one after another, each in a new process."""
    return {each: _import_time(each) for each in sources if each.target and not each.is_builtin}


def import_here(target: str) -> dict[str, object]:
    """Import a plugin file or a module in this process and say what that took."""
    import time
    from importlib import import_module
    from pathlib import Path

    from .discovery import imported

    start = time.perf_counter()
    with suppress(Exception, SystemExit):  # told by whoever loads the plugin
        imported(Path(target)) if target.endswith(".py") else import_module(target)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "heavy": [name for name in HEAVY if name in sys.modules]}


def _import_time(source: Source) -> Imported:
    asked = json.dumps({"path": sys.path, "target": source.target})
    try:
        done = subprocess.run(
            [sys.executable, "-c", _CODE, asked],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Imported(TIMEOUT_SECONDS, ended=f"not done after {TIMEOUT_SECONDS} s")
    try:
        said = json.loads(done.stdout.splitlines()[-1])
        return Imported(said["seconds"], tuple(said["heavy"]))
    except (IndexError, ValueError, TypeError, KeyError):
        return Imported(0.0, ended=_status(done.returncode))


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"


@dataclass(frozen=True)
class Diagnostic:
    """One thing the doctor found: a problem, or a note on what works and could be better.

    `place` is "FILE:LINE" or "", `remedy` what to do about it.
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
