"""Find plugins and index by name what they offer; a broken plugin never stops the others.

Plugins come, in this order, from installed packages (entry points of the group `keeprate`), from
`keeprate_plugins.py` in the working directory, and from files named with `--plugin`. The
environment variable KEEPRATE_PLUGINS limits them, but keeprate's own plugins and files named with
`--plugin` always load. If it is unset, everything loads. If it is empty, nothing else loads. If it
is a comma list, only the entry points of these names load, and each item that ends in ".py" is a
plugin file; `keeprate_plugins.py` then loads only if it is in the list.
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
from .code.plugin_folders import forget
from .discovery import BrokenPlugin, Plugin, Source, survey
from .kinds import KINDS, Registered, RegisteredStudy, check_class, check_study

if TYPE_CHECKING:
    from ..backbone import Backbone
    from ..dataset import DataSet
    from ..engine import Engine
    from ..method import Method
    from ..metric import Metric
    from ..report import Report
    from ..strategy import Strategy


STUDIES = "studies"
ALL_KINDS = (*KINDS, STUDIES)
"""All kinds of things that plugins offer."""

Offered: TypeAlias = Registered[Any] | RegisteredStudy


class Registry:
    """Everything the loaded plugins offer, by kind and name.

    A plugin is asked for its things of a kind only when that kind is first used, so that a report
    can be written without importing any method. `on_broken` is called with each plugin that fails,
    when it fails.
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
        loaded = [self._open(source) for source in sources]
        self.plugins = tuple(plugin for plugin in loaded if plugin is not None)

    @cached_property
    def methods(self) -> Mapping[str, Registered[Method]]:
        """The methods by name, in the order of their plugins."""
        return self._index("methods")

    @cached_property
    def backbones(self) -> Mapping[str, Registered[Backbone]]:
        """The backbones by name, in the order of their plugins."""
        return self._index("backbones")

    @cached_property
    def datasets(self) -> Mapping[str, Registered[DataSet]]:
        """The data sets by name, in the order of their plugins."""
        return self._index("datasets")

    @cached_property
    def metrics(self) -> Mapping[str, Registered[Metric]]:
        """The metrics by name, in the order of their plugins."""
        return self._index("metrics")

    @cached_property
    def reports(self) -> Mapping[str, Registered[Report]]:
        """The reports by name, in the order of their plugins."""
        return self._index("reports")

    @cached_property
    def engines(self) -> Mapping[str, Registered[Engine]]:
        """The engines by name, in the order of their plugins."""
        return self._index("engines")

    @cached_property
    def strategies(self) -> Mapping[str, Registered[Strategy]]:
        """The search strategies by name, in the order of their plugins."""
        return self._index("strategies")

    @cached_property
    def studies(self) -> Mapping[str, RegisteredStudy]:
        """The ready studies by name, in the order of their plugins."""
        return self._index(STUDIES)

    def offers(self, kind: str) -> Sequence[Offered]:
        """Return all that is offered of a kind (or of "studies"), even if two names clash.

        Each plugin is asked once.
        """
        if kind not in self._offers:
            self._offers[kind] = [
                offer for plugin in self.plugins for offer in self._ask(kind, plugin)
            ]
        return self._offers[kind]

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Every plugin that failed, with the cause. First asks all plugins for all kinds."""
        for kind in ALL_KINDS:
            self.offers(kind)
        return tuple(self._broken)

    def method(self, name: str) -> type[Method]:
        """Return the method of this name; KeeprateError with the nearest name if none is."""
        return _look_up("method", name, self.methods)

    def backbone(self, name: str) -> type[Backbone]:
        """Return the backbone of this name; KeeprateError with the nearest name if none is."""
        return _look_up("backbone", name, self.backbones)

    def dataset(self, name: str) -> type[DataSet]:
        """Return the data set of this name; KeeprateError with the nearest name if none is."""
        return _look_up("data set", name, self.datasets)

    def default_dataset(self) -> type[DataSet]:
        """Return the data set where the user names none; KeeprateError if none is the default."""
        for offer in self.datasets.values():
            if offer.cls.is_default:
                return offer.cls
        raise KeeprateError("No data set is the default one here: name one with --data.")

    def metric(self, name: str) -> type[Metric]:
        """Return the metric of this name; KeeprateError with the nearest name if none is."""
        return _look_up("metric", name, self.metrics)

    def report(self, name: str) -> type[Report]:
        """Return the report of this name; KeeprateError with the nearest name if none is."""
        return _look_up("report", name, self.reports)

    def engine(self, name: str) -> type[Engine]:
        """Return the engine of this name; KeeprateError with the nearest name if none is."""
        return _look_up("engine", name, self.engines)

    def strategy(self, name: str) -> type[Strategy]:
        """Return the strategy of this name; KeeprateError with the nearest name if none is."""
        return _look_up("strategy", name, self.strategies)

    def study(self, name: str) -> RegisteredStudy:
        """Return the ready study of this name; KeeprateError with the nearest name if none is."""
        if name not in self.studies:
            raise unknown_name("study", name, self.studies, "Or name a file: FILE.yaml.")
        return self.studies[name]

    def _open(self, source: Source) -> Plugin | None:
        try:
            return source.open()
        # SystemExit, too: a script named as a plugin may call sys.exit()
        except (Exception, SystemExit) as error:
            self._record_failure(BrokenPlugin.of(source.name, source.origin, error, source.package))
            return None

    def _index(self, kind: str) -> dict[str, Any]:
        # a clash raises only here: whoever does not use this kind need not care
        offers_by_name: dict[str, Any] = {}
        for offer in self.offers(kind):
            if offer.name in offers_by_name:
                raise KeeprateError(f"{clash(kind, offers_by_name[offer.name], offer)}. {RENAME}")
            offers_by_name[offer.name] = offer
        return offers_by_name

    def _ask(self, kind: str, plugin: Plugin) -> list[Any]:
        hook = _hook(kind)
        try:
            things = plugin.ask(hook)
            if kind == STUDIES:
                names = [check_study(path) for path in things]
            else:
                names = [check_class(KINDS[kind], cls) for cls in things]
        except (Exception, SystemExit) as error:
            function = plugin.function(hook)
            self._record_failure(
                BrokenPlugin.of(plugin.name, plugin.origin, error, plugin.package, function)
            )
            return []
        offer: Callable[..., Offered] = RegisteredStudy if kind == STUDIES else Registered
        source = (plugin.name, plugin.origin, plugin.version)
        return [offer(name, thing, *source) for name, thing in zip(names, things, strict=True)]

    def _record_failure(self, broken: BrokenPlugin) -> None:
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
    """Return the message that two things of a kind have one name, with both origins."""
    word = KINDS[kind].word if kind in KINDS else "study"
    if one.origin == other.origin:
        return f"{one.origin} offers the {word} name '{one.name}' twice"
    return f"Two plugins offer a {word} named '{one.name}': {one.origin} and {other.origin}"


def _look_up(kind: str, name: str, offers: Mapping[str, Registered[Any]]) -> type[Any]:
    if name not in offers:
        raise unknown_name(kind, name, offers, _suggest_file(name))
    return offers[name].cls


def _suggest_file(name: str) -> str:
    """Return a hint at a plugin file in the working directory that has the name looked up."""
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
    `on_broken` is called with each plugin that fails, when it fails. With `strict` the first one
    that fails raises KeeprateError.
    """
    environ = os.environ if environ is None else environ
    found = survey(files, environ, directory or Path.cwd())
    forget(found.files)
    loaded = Registry(found.sources, strict=strict, on_broken=on_broken)
    if strict:
        _ = loaded.broken  # asks for everything, so that failures show now and not at first use
    return loaded


# loaded at first use and not at import, so that start-up stays quick
_active: list[Registry] = []


def registry() -> Registry:
    """Return the registry of this process: the activated one, or else `load()`, called once.

    In the second case, plugins that fail are named in a warning.
    """
    if not _active:
        activate(load(on_broken=lambda broken: warnings.warn(f"Plugin {broken}", stacklevel=2)))
    return _active[0]


def activate(registry: Registry) -> None:
    """Make `registry` the registry in which this process looks names up."""
    _active[:] = [registry]
