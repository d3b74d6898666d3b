"""Find plugins and index what they offer by name; a broken one never takes the others with it.

Plugins come, in this order, from installed packages (entry points of the group `keeprate`), from
`keeprate_plugins.py` in the working directory, and from files named with `--plugin`. The
environment variable KEEPRATE_PLUGINS limits them, except that keeprate's own plugins and files
named with `--plugin` always load. Unset: everything loads. Empty: nothing else loads. A comma list:
only the entry points of these names load, and each item that ends in ".py" is a plugin file
(`keeprate_plugins.py`, too, then loads only if listed).
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import KeeprateError, unknown_name
from .discovery import BrokenPlugin, Plugin, Source, survey
from .kinds import KINDS, Registered, RegisteredStudy, check_class, check_study

if TYPE_CHECKING:
    from ..backbone import Backbone
    from ..dataset import DataSet
    from ..engine import Engine
    from ..method import Method
    from ..report import Report


STUDIES = "studies"
ALL_KINDS = (*KINDS, STUDIES)
"""All that plugins offer, each kind once."""

Offered: TypeAlias = Registered[Any] | RegisteredStudy


class Registry:
    """Everything the loaded plugins offer, by kind and name.

    A plugin is asked what it offers of a kind only when that kind is first looked at, so that a
    report can be written without importing any method. `on_broken` hears of each plugin that
    fails, when it does.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        strict: bool = False,
        on_broken: Callable[[BrokenPlugin], None] | None = None,
    ) -> None:
        self._strict, self._on_broken = strict, on_broken
        self._broken: list[BrokenPlugin] = []
        self._offers: dict[str, list[Any]] = {}
        loaded = [self._opened(source) for source in sources]
        self.plugins = tuple(plugin for plugin in loaded if plugin is not None)

    @cached_property
    def methods(self) -> Mapping[str, Registered[Method]]:
        """The methods by name, in the order of their plugins."""
        return self._collected("methods")

    @cached_property
    def backbones(self) -> Mapping[str, Registered[Backbone]]:
        """The backbones by name, in the order of their plugins."""
        return self._collected("backbones")

    @cached_property
    def datasets(self) -> Mapping[str, Registered[DataSet]]:
        """The data sets by name, in the order of their plugins."""
        return self._collected("datasets")

    @cached_property
    def reports(self) -> Mapping[str, Registered[Report]]:
        """The reports by name, in the order of their plugins."""
        return self._collected("reports")

    @cached_property
    def engines(self) -> Mapping[str, Registered[Engine]]:
        """The engines by name, in the order of their plugins."""
        return self._collected("engines")

    @cached_property
    def studies(self) -> Mapping[str, RegisteredStudy]:
        """The ready studies by name, in the order of their plugins."""
        return self._collected(STUDIES)

    def offers(self, kind: str) -> Sequence[Offered]:
        """Return all that is offered of a kind, or as "studies", also what clashes in its name.

        Each plugin is asked once.
        """
        if kind not in self._offers:
            self._offers[kind] = [each for one in self.plugins for each in self._asked(kind, one)]
        return self._offers[kind]

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Every plugin that failed, with the cause; asks all plugins for all kinds first."""
        for kind in ALL_KINDS:
            self.offers(kind)
        return tuple(self._broken)

    def method(self, name: str) -> type[Method]:
        """Return the method of this name; KeeprateError with the nearest name if none is."""
        return _looked_up("method", name, self.methods)

    def backbone(self, name: str) -> type[Backbone]:
        """Return the backbone of this name; KeeprateError with the nearest name if none is."""
        return _looked_up("backbone", name, self.backbones)

    def dataset(self, name: str) -> type[DataSet]:
        """Return the data set of this name; KeeprateError with the nearest name if none is."""
        return _looked_up("data set", name, self.datasets)

    def embedded_dataset(self) -> type[DataSet]:
        """Return the data set that ships with its own classifier; KeeprateError if none does."""
        for offer in self.datasets.values():
            if offer.cls.embedded:
                return offer.cls
        raise KeeprateError("No data set ships with its own classifier here: name one with --data.")

    def report(self, name: str) -> type[Report]:
        """Return the report of this name; KeeprateError with the nearest name if none is."""
        return _looked_up("report", name, self.reports)

    def engine(self, name: str) -> type[Engine]:
        """Return the engine of this name; KeeprateError with the nearest name if none is."""
        return _looked_up("engine", name, self.engines)

    def study(self, name: str) -> RegisteredStudy:
        """Return the ready study of this name; KeeprateError with the nearest name if none is."""
        if name not in self.studies:
            raise unknown_name("study", name, self.studies, "Or name a file: FILE.yaml.")
        return self.studies[name]

    def _opened(self, source: Source) -> Plugin | None:
        try:
            return source.open()
        except (Exception, SystemExit) as error:
            self._failed(BrokenPlugin.of(source.name, source.origin, error, source.package))
            return None

    def _collected(self, kind: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for offer in self.offers(kind):
            if offer.name in found:
                raise KeeprateError(f"{clash(kind, found[offer.name], offer)}. {RENAME}")
            found[offer.name] = offer
        return found

    def _asked(self, kind: str, plugin: Plugin) -> list[Any]:
        hook = _hook(kind)
        try:
            found = plugin.ask(hook)
            if kind == STUDIES:
                names = [check_study(path) for path in found]
            else:
                names = [check_class(KINDS[kind], cls) for cls in found]
        except (Exception, SystemExit) as error:
            function = plugin.function(hook)
            self._failed(
                BrokenPlugin.of(plugin.name, plugin.origin, error, plugin.package, function)
            )
            return []
        offer: Callable[..., Offered] = RegisteredStudy if kind == STUDIES else Registered
        where = (plugin.name, plugin.origin, plugin.version)
        return [offer(name, each, *where) for name, each in zip(names, found, strict=True)]

    def _failed(self, broken: BrokenPlugin) -> None:
        if self._strict:
            raise KeeprateError(f"Plugin {broken}") from broken.error
        self._broken.append(broken)
        if self._on_broken is not None:
            self._on_broken(broken)


def _hook(kind: str) -> str:
    return KINDS[kind].hook if kind in KINDS else f"keeprate_{kind}"


RENAME = "Rename or leave out one."
"""The remedy for a clash."""


def clash(kind: str, one: Offered, other: Offered) -> str:
    """Say that two things of a kind are offered under one name, with both origins."""
    word = KINDS[kind].word if kind in KINDS else "study"
    if one.origin == other.origin:
        return f"{one.origin} offers the {word} name '{one.name}' twice"
    return f"Two plugins offer a {word} named '{one.name}': {one.origin} and {other.origin}"


def _looked_up(kind: str, name: str, known: Mapping[str, Registered[Any]]) -> type[Any]:
    if name not in known:
        raise unknown_name(kind, name, known, _file_here(name))
    return known[name].cls


def _file_here(name: str) -> str:
    """Point at a plugin file in the working directory that is called like what was asked for."""
    path = Path(f"{re.sub(r'[^a-z0-9]', '_', name.lower())}.py")
    return f"There is a file {path}: --plugin {path} loads it." if path.is_file() else ""


def load(
    files: Sequence[Path] = (),
    *,
    strict: bool = False,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
    on_broken: Callable[[BrokenPlugin], None] | None = None,
) -> Registry:
    """Load every plugin the environment allows, and the plugin `files`, each once.

    `environ` and `directory` stand for the process's environment and working directory.
    `on_broken` is called with each plugin that fails, when it does; with `strict` the first one
    raises KeeprateError.
    """
    environ = os.environ if environ is None else environ
    sources = survey(files, environ, directory or Path.cwd()).sources
    found = Registry(sources, strict=strict, on_broken=on_broken)
    if strict:
        _ = found.broken
    return found


_active: list[Registry] = []


def registry() -> Registry:
    """Return the registry of this process: the activated one, otherwise `load()`, once.

    Plugins that fail are then named in a warning.
    """
    if not _active:
        activate(load(on_broken=lambda broken: warnings.warn(f"Plugin {broken}", stacklevel=2)))
    return _active[0]


def activate(registry: Registry) -> None:
    """Make `registry` the one this process looks names up in."""
    _active[:] = [registry]
