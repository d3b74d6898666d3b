"""Where plugins come from, and how one is imported and asked, alone."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from .. import hookspecs
from ..errors import AuthorError, KeeprateError, suggestion
from .author_errors import definition_place, describe_error, raise_place, sentence
from .contract import STATED, check_api, check_hooks, listed, stated_api

VARIABLE = "KEEPRATE_PLUGINS"
"""The environment variable that limits which plugins load."""

LOCAL_FILE = "keeprate_plugins.py"
"""The plugin file looked for in the working directory."""


def is_builtin(origin: str) -> bool:
    """Tell whether a plugin from `origin` is one of keeprate's own."""
    return origin.partition(" ")[0] == hookspecs.PROJECT


@dataclass(frozen=True)
class Plugin:
    """One loaded plugin: its name, where it comes from, and its version ("" if it states none).

    `api` is the API version it states to be made for, None if it states none; `module` is where its
    hooks are, `seconds` what importing it took.
    """

    name: str
    origin: str
    version: str
    manager: pluggy.PluginManager = field(repr=False, compare=False)
    api: int | None = None
    module: object = field(default=None, repr=False, compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)

    def ask(self, hook: str) -> list[Any]:
        """Return what this plugin offers through `hook`; whatever it raises is passed on.

        Raises AuthorError for an answer that is no list.
        """
        answers = getattr(self.manager.hook, hook)()  # without those that are None
        function = self.function(hook)
        if function is not None and not answers:
            answers = [None]
        return [each for answer in answers for each in listed(hook, function, answer)]

    def function(self, hook: str) -> object:
        """Return the plugin's own function for `hook`, None if it has none."""
        implementations = getattr(self.manager.hook, hook).get_hookimpls()
        return implementations[-1].function if implementations else None

    @property
    def package(self) -> str:
        """The top-level package, or the module, that the plugin is in."""
        return str(getattr(self.module, "__name__", "")).partition(".")[0]


@dataclass(frozen=True)
class BrokenPlugin:
    """One plugin that failed to load or to register.

    `cause` says in one line why, where, and how to mend it; `said`, `place` ("FILE:LINE", "" if
    unknown) and `remedy` ("" if unknown) are its parts.
    """

    name: str
    origin: str
    cause: str
    error: BaseException = field(repr=False, compare=False)
    said: str = field(default="", repr=False, compare=False)
    place: str = field(default="", repr=False, compare=False)
    remedy: str = field(default="", repr=False, compare=False)

    @classmethod
    def of(
        cls, name: str, origin: str, error: BaseException, package: str = "", hook: object = None
    ) -> BrokenPlugin:
        """Describe an error on the way through code of `package`, or about the function `hook`."""
        said, remedy = describe_error(error)
        written = getattr(error, "written", None)
        place = definition_place(written) if written is not None else raise_place(error, package)
        if not place and hook is not None:
            place = definition_place(hook)
        shown = f"line {place[len(origin) + 1 :]}" if place.startswith(f"{origin}:") else place
        return cls(name, origin, sentence(said, shown, remedy), error, said, place, remedy)

    def __str__(self) -> str:
        return f"{self.name} ({self.origin}) failed: {self.cause}"


@dataclass(frozen=True)
class Source:
    """A plugin not yet imported: its name, where it comes from, and how to import it.

    `target` is what is imported: a file's path, or "MODULE" of an entry point; "" for a name that
    nothing has.
    """

    name: str
    origin: str
    version: str
    module: Callable[[], object]
    target: str = ""

    @property
    def package(self) -> str:
        """The top-level package, or the module, that the plugin's code is in."""
        if _is_file(self.target):
            return _module_name(Path(self.target))
        return self.target.partition(".")[0]

    @property
    def is_builtin(self) -> bool:
        """Whether the plugin is one of keeprate's own."""
        return is_builtin(self.origin)

    def open(self) -> Plugin:
        """Import the plugin and check its hooks; whatever it raises is passed on.

        Each plugin gets a plugin manager of its own, so that none can spoil another's registration.
        """
        start = time.perf_counter()
        module = self.module()
        seconds = time.perf_counter() - start
        api = getattr(module, STATED, None)
        check_api(api)
        check_hooks(module)
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(module, self.name)
        manager.check_pending()
        version = self.version or str(getattr(module, "__version__", ""))
        return Plugin(self.name, self.origin, version, manager, api, module, seconds)


@dataclass(frozen=True)
class Survey:
    """Where plugins can come from: those to load, in order, and what is left out or repeated.

    `chosen` is what the environment limits plugins to, None if it does not; `left_out` are the
    installed plugins that it leaves out; `files` are the plugin files as often as they are named.
    """

    sources: Sequence[Source]
    left_out: Sequence[Source]
    chosen: Sequence[str] | None
    files: Sequence[Path]

    def by_name(self) -> dict[str, list[Source]]:
        """Return the installed plugins, loaded or not, by the names of their entry points."""
        found: dict[str, list[Source]] = {}
        for each in (*self.sources, *self.left_out):
            if each.target and not _is_file(each.target):
                found.setdefault(each.name, []).append(each)
        return found


def survey(files: Sequence[Path], environ: Mapping[str, str], directory: Path) -> Survey:
    """Return where plugins can come from, those of keeprate first, in the order of `plugins`."""
    chosen = _chosen(environ)
    installed = _installed()
    found = [_from_entry_point(each) for each in installed if _wanted(each, chosen)]
    left_out = [_from_entry_point(each) for each in installed if not _wanted(each, chosen)]
    names = {each.name for each in installed}
    absent = [item for item in chosen or () if not _is_file(item) and item not in names]
    found += [_absent(item, names) for item in absent]
    paths = [*_local_files(chosen, directory), *(path.resolve() for path in files)]
    return Survey(
        found + [_from_file(path) for path in dict.fromkeys(paths)], left_out, chosen, paths
    )


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
    return Source(entry.name, f"{package} {version}".rstrip(), version, entry.load, entry.module)


def _absent(name: str, installed: Collection[str]) -> Source:
    def module() -> object:
        remedy = f"{suggestion(name, installed)} A file's name ends in .py."
        raise AuthorError("no installed plugin has this name", remedy)

    return Source(name, VARIABLE, "", module)


def _from_file(path: Path) -> Source:
    return Source(path.stem, str(path), "", lambda: imported(path), str(path))


def _module_name(path: Path) -> str:
    """Return a module name that no other file has."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"


def imported(path: Path) -> ModuleType:
    """Import a plugin file, unless it says that it is made for another keeprate."""
    if not path.is_file():
        raise AuthorError("no such file", "Look at the path, which starts in the working folder.")
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise KeeprateError("not a Python file (.py)")
    check_api(stated_api(path.read_bytes().decode(errors="replace")))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
