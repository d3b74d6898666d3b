"""Where plugins come from, and how one is imported and asked, alone."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from . import hookspecs
from .errors import KeeprateError

VARIABLE = "KEEPRATE_PLUGINS"
"""The environment variable that limits which plugins load."""

LOCAL_FILE = "keeprate_plugins.py"
"""The plugin file looked for in the working directory."""


@dataclass(frozen=True)
class Plugin:
    """One loaded plugin: its name, where it comes from, and its version ("" if it states none)."""

    name: str
    origin: str
    version: str
    manager: pluggy.PluginManager = field(repr=False, compare=False)

    def ask(self, hook: str) -> list[Any]:
        """Return what this plugin offers through `hook`; whatever it raises is passed on."""
        return [each for answer in getattr(self.manager.hook, hook)() for each in answer]


@dataclass(frozen=True)
class BrokenPlugin:
    """One plugin that failed to load or to register, and why."""

    name: str
    origin: str
    cause: str
    error: BaseException = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, origin: str, error: BaseException) -> BrokenPlugin:
        """Describe `error` in one line."""
        said = " ".join(str(error).split())
        kind = type(error).__name__
        known = isinstance(error, KeeprateError | pluggy.PluginValidationError)
        return cls(name, origin, said if known else f"{kind}: {said}".removesuffix(": "), error)

    def __str__(self) -> str:
        return f"{self.name} ({self.origin}) failed: {self.cause}"


@dataclass(frozen=True)
class Source:
    """A plugin not yet imported: its name, where it comes from, and how to import it."""

    name: str
    origin: str
    version: str
    module: Callable[[], object]

    def open(self) -> Plugin:
        """Import the plugin and check its hooks; whatever it raises is passed on.

        Each plugin gets a plugin manager of its own, so that none can spoil another's registration.
        """
        module = self.module()
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(module, self.name)
        manager.check_pending()
        if not manager.get_hookcallers(module):
            raise KeeprateError("it offers nothing: no function is marked @keeprate.hookimpl")
        version = self.version or str(getattr(module, "__version__", ""))
        return Plugin(self.name, self.origin, version, manager)


def find_sources(
    files: Sequence[Path], environ: Mapping[str, str], directory: Path
) -> list[Source]:
    """Return the plugins to load, those of keeprate first, in the order described in `plugins`."""
    chosen = _chosen(environ)
    installed = _installed()
    found = [_from_entry_point(each) for each in installed if _wanted(each, chosen)]
    names = {each.name for each in installed}
    found += [_absent(item) for item in chosen or () if not _is_file(item) and item not in names]
    paths = [*_local_files(chosen, directory), *(path.resolve() for path in files)]
    return found + [_from_file(path) for path in dict.fromkeys(paths)]


def _chosen(environ: Mapping[str, str]) -> list[str] | None:
    """Return what the environment limits plugins to, None if it does not."""
    if VARIABLE not in environ:
        return None
    return [item.strip() for item in environ[VARIABLE].split(",") if item.strip()]


def _installed() -> list[EntryPoint]:
    """Return the entry points, keeprate's own first, each once however often it is found."""
    found = {(each.name, each.value): each for each in entry_points(group=hookspecs.PROJECT)}
    return sorted(found.values(), key=lambda each: (not _is_builtin(each), each.value))


def _is_builtin(entry: EntryPoint) -> bool:
    return entry.dist is not None and entry.dist.name == hookspecs.PROJECT


def _wanted(entry: EntryPoint, chosen: Collection[str] | None) -> bool:
    return chosen is None or _is_builtin(entry) or entry.name in chosen


def _is_file(item: str) -> bool:
    return item.endswith(".py")


def _local_files(chosen: Sequence[str] | None, directory: Path) -> Iterator[Path]:
    if chosen is not None:
        yield from (directory.joinpath(item).resolve() for item in chosen if _is_file(item))
    elif (directory / LOCAL_FILE).is_file():
        yield (directory / LOCAL_FILE).resolve()


def _from_entry_point(entry: EntryPoint) -> Source:
    version = entry.dist.version if entry.dist is not None else ""
    package = entry.dist.name if entry.dist is not None else entry.value
    return Source(entry.name, f"{package} {version}".rstrip(), version, entry.load)


def _absent(name: str) -> Source:
    def module() -> object:
        raise KeeprateError("no installed plugin has this name")

    return Source(name, VARIABLE, "", module)


def _from_file(path: Path) -> Source:
    return Source(path.stem, str(path), "", lambda: _imported(path))


def _imported(path: Path) -> ModuleType:
    """Import a plugin file under a module name no other file has."""
    if not path.is_file():
        raise KeeprateError("no such file")
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    name = f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise KeeprateError("not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
