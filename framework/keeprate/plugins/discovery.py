"""Find the sources of plugins; import each plugin alone and ask it what it offers."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from .. import hookspecs
from ..errors import AuthorError, KeeprateError, suggestion
from .author_errors import definition_place, describe_error, raise_place, sentence
from .code.plugin_folders import folder_package, import_file
from .contract import STATED, check_api, check_hooks, listed, stated_api
from .installed import InstalledPlugin, installed_plugins

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

    `api` is the API version that it states, None if it states none. `module` holds its hooks,
    `seconds` is the time that its import took.
    """

    name: str
    origin: str
    version: str
    manager: pluggy.PluginManager = field(repr=False, compare=False)
    api: int | None = None
    module: object = field(default=None, repr=False, compare=False)
    seconds: float = field(default=0.0, repr=False, compare=False)

    def ask(self, hook: str) -> list[Any]:
        """Return what this plugin offers through `hook`.

        Raises AuthorError for an answer that is no list, and whatever the plugin itself raises.
        """
        answers = getattr(self.manager.hook, hook)()
        function = self.function(hook)
        # pluggy leaves out answers that are None, but a forgotten return must be reported
        if function is not None and not answers:
            answers = [None]
        return [offer for answer in answers for offer in listed(hook, function, answer)]

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

    `cause` says in one line why, where, and how to mend it. Its parts are `said`, `place`
    ("FILE:LINE", "" if unknown) and `remedy` ("" if unknown).
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
        """Describe an error that came through code of `package` or is about the function `hook`."""
        message, remedy = describe_error(error)
        definition = getattr(error, "written", None)
        location = (
            definition_place(definition) if definition is not None else raise_place(error, package)
        )
        if not location and hook is not None:
            location = definition_place(hook)
        # the message begins with the origin already: a file's path is not repeated
        short_location = (
            f"line {location[len(origin) + 1 :]}" if location.startswith(f"{origin}:") else location
        )
        return cls(
            name,
            origin,
            sentence(message, short_location, remedy),
            error,
            message,
            location,
            remedy,
        )

    def __str__(self) -> str:
        return f"{self.name} ({self.origin}) failed: {self.cause}"


@dataclass(frozen=True)
class Source:
    """A plugin not yet imported: its name, where it comes from, and how to import it.

    `target` is what is imported: a file's path, or "MODULE" of an entry point. It is "" for a name
    that no plugin has.
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
            return folder_package(Path(self.target).parent)
        return self.target.partition(".")[0]

    @property
    def is_builtin(self) -> bool:
        """Whether the plugin is one of keeprate's own."""
        return is_builtin(self.origin)

    def open(self) -> Plugin:
        """Import the plugin and check its hooks. Raises whatever the plugin raises."""
        start = time.perf_counter()
        module = self.module()
        seconds = time.perf_counter() - start
        api = getattr(module, STATED, None)
        check_api(api)
        check_hooks(module)
        # a manager for each plugin, so that none can spoil another's registration
        manager = pluggy.PluginManager(hookspecs.PROJECT)
        manager.add_hookspecs(hookspecs)
        manager.register(module, self.name)
        manager.check_pending()
        version = self.version or str(getattr(module, "__version__", ""))
        return Plugin(self.name, self.origin, version, manager, api, module, seconds)


@dataclass(frozen=True)
class Survey:
    """All sources of plugins: those to load, in order, and those left out.

    `chosen` are the names that the environment limits plugins to, None if it does not. `left_out`
    are the installed plugins that it leaves out. `files` are the plugin files; a file that was
    named twice is in it twice.
    """

    sources: Sequence[Source]
    left_out: Sequence[Source]
    chosen: Sequence[str] | None
    files: Sequence[Path]

    def by_name(self) -> dict[str, list[Source]]:
        """Return the installed plugins, loaded or not, by the names of their entry points."""
        sources_by_name: dict[str, list[Source]] = {}
        for source in (*self.sources, *self.left_out):
            if source.target and not _is_file(source.target):
                sources_by_name.setdefault(source.name, []).append(source)
        return sources_by_name


def survey(files: Sequence[Path], environ: Mapping[str, str], directory: Path) -> Survey:
    """Return the sources of plugins: keeprate's own first, then other packages, then files."""
    allowed_names = _allowed_names(environ)
    installed = _installed_once()
    sources = [_from_package(each) for each in installed if _is_allowed(each, allowed_names)]
    left_out = [_from_package(each) for each in installed if not _is_allowed(each, allowed_names)]
    names = {each.entry.name for each in installed}
    absent_names = [
        name for name in allowed_names or () if not _is_file(name) and name not in names
    ]
    sources += [_absent_source(name, names) for name in absent_names]
    paths = [*_find_local_files(allowed_names, directory), *(path.resolve() for path in files)]
    # dict.fromkeys: each file once, in the order in which they were named
    return Survey(
        sources + [_from_file(path) for path in dict.fromkeys(paths)],
        left_out,
        allowed_names,
        paths,
    )


def _allowed_names(environ: Mapping[str, str]) -> list[str] | None:
    """Return the names that the environment limits plugins to, None if it does not."""
    if VARIABLE not in environ:
        return None
    return [item.strip() for item in environ[VARIABLE].split(",") if item.strip()]


def _installed_once() -> list[InstalledPlugin]:
    """Return installed plugins, keeprate's own first, each once even if it is found twice."""
    found = {(each.entry.name, each.entry.value): each for each in installed_plugins()}
    return sorted(found.values(), key=lambda each: (not _is_builtin(each), each.entry.value))


def _is_builtin(plugin: InstalledPlugin) -> bool:
    return plugin.package == hookspecs.PROJECT


def _is_allowed(plugin: InstalledPlugin, allowed_names: Collection[str] | None) -> bool:
    return allowed_names is None or _is_builtin(plugin) or plugin.entry.name in allowed_names


def _is_file(item: str) -> bool:
    return item.endswith(".py")


def _find_local_files(allowed_names: Sequence[str] | None, directory: Path) -> Iterator[Path]:
    if allowed_names is not None:
        yield from (directory.joinpath(item).resolve() for item in allowed_names if _is_file(item))
    elif (directory / LOCAL_FILE).is_file():
        yield (directory / LOCAL_FILE).resolve()


def _from_package(plugin: InstalledPlugin) -> Source:
    entry, version = plugin.entry, plugin.version
    origin = f"{plugin.package or entry.value} {version}".rstrip()
    return Source(entry.name, origin, version, entry.load, entry.module)


def _absent_source(name: str, installed: Collection[str]) -> Source:
    def module() -> object:
        remedy = f"{suggestion(name, installed)} A file's name ends in .py."
        raise AuthorError("no installed plugin has this name", remedy)

    return Source(name, VARIABLE, "", module)


def _from_file(path: Path) -> Source:
    return Source(path.stem, str(path), "", lambda: imported(path), str(path))


def imported(path: Path) -> ModuleType:
    """Import a plugin file. Raises AuthorError if it is missing or made for another keeprate."""
    if not path.is_file():
        raise AuthorError("no such file", "Look at the path, which starts in the working folder.")
    if path.suffix != ".py":
        raise KeeprateError("not a Python file (.py)")
    # before it runs: a file for a newer keeprate may already fail at its imports
    check_api(stated_api(path.read_bytes().decode(errors="replace")))
    return import_file(path)
