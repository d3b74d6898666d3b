"""Whether the packages that plugins come from, keeprate's own included, fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from .discovery import Source
from .doctor import Finding, note, problem
from .hookspecs import PROJECT

_FOR_AUTHORS = frozenset({"dev", "develop", "test", "tests", "testing", "doc", "docs", "lint"})
"""Extras that those who only use a package do not need."""


def packages(sources: Iterable[Source]) -> Iterator[Finding]:
    """Yield the requirements that are not met, of each package that offers a plugin."""
    names = [each.origin.rpartition(" ")[0] for each in sources if not each.target.endswith(".py")]
    for name in dict.fromkeys(filter(None, names)):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        yield from _unmet(found)
        yield from _missing_extras(found)


def _unmet(package: Distribution) -> Iterator[Finding]:
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


def _missing_extras(package: Distribution) -> Iterator[Finding]:
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
