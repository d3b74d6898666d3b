"""The plugins of installed packages, by their entry points; looked up once for a Python path."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points

from ..hookspecs import PROJECT


@dataclass(frozen=True)
class InstalledPlugin:
    """An entry point, and the package that brings it: its name and version, "" if unknown."""

    entry: EntryPoint
    package: str
    version: str


def installed_plugins() -> tuple[InstalledPlugin, ...]:
    """Return the plugins of all packages on Python's path; pip changes a folder that is on it."""
    return _plugins_on(tuple(_stamp(folder or ".") for folder in sys.path))


# kept, as each look reads the descriptions of all installed packages
@lru_cache(maxsize=8)
def _plugins_on(path: tuple[object, ...]) -> tuple[InstalledPlugin, ...]:
    found = []
    for entry in entry_points(group=PROJECT):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("", "")
        found.append(InstalledPlugin(entry, name, version))
    return tuple(found)


def _stamp(folder: str) -> object:
    try:
        status = os.stat(folder)
    except OSError:
        return folder
    return folder, status.st_dev, status.st_ino, status.st_mtime_ns
