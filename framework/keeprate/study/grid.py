"""Expand a study to its runs: methods times parameters times costs times seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, TypeAlias

from ..costs import parse_budget
from ..errors import KeeprateError
from ..method import Method
from ..plugins.parameters import parse_spec, values_of
from ..plugins.registry import registry
from ..reduction.named_schedules import preset_of
from ..reduction.schedule import PREFIX, parse_schedule
from ..request import DEFAULT_BUDGETS, Cost, RunSpec
from ..resizing import InputMethod
from .axes import axes_of, choices, combinations, takes, too_many_runs
from .methods import SEED, build_method, lacks_seed
from .problems import Problems
from .schema import MethodEntry, StudySpec
from .validate import named_values
from .yaml_lines import KeyPath

if TYPE_CHECKING:
    from pydantic import JsonValue


_Given: TypeAlias = Method | type[Method] | None


@dataclass(frozen=True)
class GridRun:
    """One run of the grid: its method, and the key paths of method, schedule and budget."""

    spec: RunSpec
    method: Method
    values: Mapping[str, JsonValue]
    """Every parameter of the method, those of a preset included."""
    entry: KeyPath
    schedule: KeyPath
    budget: KeyPath

    @property
    def key(self) -> str:
        """A text that is equal for two points that are the same run."""
        cost = self.spec.cost
        return json.dumps([self.spec.method, dict(self.values), cost.schedule, cost.budget])


@dataclass(frozen=True)
class _Costed:
    cost: Cost
    schedule: KeyPath
    budget: KeyPath


def points_of(content: StudySpec, ledger: Problems) -> list[GridRun]:
    """Return the runs of a study in the order in which they are written, each once.

    Impossible runs are noted in the ledger and left out.
    """
    runs_by_key: dict[str, GridRun] = {}
    expansions = _expansions(content, ledger)
    # counted before the first run is made
    count = sum(expansion.count for expansion in expansions)
    if count > content.most_runs:
        largest = max(expansions, key=lambda expansion: expansion.count)
        ledger.add(largest.path, too_many_runs(count, largest.axis_lengths, content.most_runs))
        raise ledger.error()
    for expansion in expansions:
        with ledger.at((*expansion.path, "name")):
            for point in expansion.points():
                runs_by_key.setdefault(point.key, point)
    return list(runs_by_key.values())


def _expansions(content: StudySpec, ledger: Problems) -> list[_Expansion]:
    classes = {name: offer.cls for name, offer in registry().methods.items()}
    expansions = []
    for path, entry in _entries(content):
        with ledger.at((*path, "name")):
            expansion = _Expansion(*_named(entry), entry, path, content, ledger)
            cls = expansion.cls
            # reports tell methods apart by their names alone
            if classes.setdefault(cls.name, cls) is not cls:
                raise KeeprateError(
                    f"Two methods are named '{cls.name}': give {cls.__name__} another name."
                )
            expansions.append(expansion)
    return expansions


def _named(entry: MethodEntry) -> tuple[type[Method], Mapping[str, str], _Given]:
    """Return the class of an entry, the values behind its name, and what no name stands for."""
    given = entry.given
    if given is None:
        name, texts = parse_spec(entry.name)
        return registry().method(name), texts, None
    if isinstance(given, Method):
        return type(given), {}, given
    offer = registry().methods.get(given.name)
    # a registered class goes by its name, so that the run can be asked for on another machine
    return given, {}, None if offer is not None and offer.cls is given else given


def _entries(content: StudySpec) -> list[tuple[KeyPath, MethodEntry]]:
    """Return the methods of the study with their key paths, or all that reduce tokens."""
    if content.methods is None:
        offers = registry().methods.values()
        names = [offer.name for offer in offers if offer.cls.reduces]
        return [(("methods",), MethodEntry(name=name)) for name in names]
    return [
        (("methods", index), entry)
        for index, entry in enumerate(content.methods)
        if entry is not None  # None stands for an item that was refused
    ]


@dataclass(frozen=True)
class _Expansion:
    """One entry of `methods` and all runs that it stands for."""

    cls: type[Method]
    texts: Mapping[str, str]
    given: _Given
    entry: MethodEntry
    path: KeyPath
    content: StudySpec
    ledger: Problems

    @property
    def axis_lengths(self) -> dict[str, int]:
        """How many values each parameter lists, and how many costs the entry has."""
        lengths = {name: len(values) for name, values in self.axes.items()}
        for axis in ("schedules", "budgets"):
            lengths[axis] = len({getattr(costed, axis[:-1]) for costed in self.costs})
        return lengths

    @cached_property
    def count(self) -> int:
        """How many runs the entry stands for, the impossible ones included."""
        rows = 1
        with self.ledger.at((*self.path, "zip")):
            rows = prod(map(len, choices(self.axes, self.entry.zip)))
        return rows * len(self.costs)

    def points(self) -> list[GridRun]:
        """Return a run for every combination of parameters and seeds at every cost."""
        return [
            point
            for values in self._settings()
            for costed in self.costs
            if (point := self._make_run(values, costed)) is not None
        ]

    def _make_run(self, values: Mapping[str, object], costed: _Costed) -> GridRun | None:
        preset = preset_of(self.cls, costed.cost.schedule)
        preset_values = {} if preset is None else preset.parameters
        # a preset is a schedule with its parameters: they win over those of the entry
        own_values = {name: value for name, value in values.items() if name not in preset_values}
        with self.ledger.at(self.path):
            spec = RunSpec(self.cls.name, own_values, costed.cost, self.given)
            method = build_method(spec, seed=0)
            if isinstance(method, InputMethod):
                spec = replace(spec, cost=_followed(method, costed.cost))
                # who names no methods asks for those that can follow the schedules
                if self.content.methods is None and spec.cost == Cost():
                    return None
            key_paths = (self.path, costed.schedule, costed.budget)
            return GridRun(spec, method, values_of(method), *key_paths)
        return None

    def _settings(self) -> list[dict[str, object]]:
        """Return every combination of parameter values that the method takes."""
        if isinstance(self.given, Method):
            return [{}]
        with self.ledger.at((*self.path, "zip")):
            settings = combinations(self.axes, self.entry.zip)
            return [
                values
                for values in settings
                if takes("method", self.cls, values, self.axes, self.ledger, self.path)
            ]
        return []

    @cached_property
    def axes(self) -> dict[str, list[object]]:
        """The values of each parameter that is given, and of the seed."""
        if isinstance(self.given, Method):  # it has its values, seed included
            return {}
        values = named_values("method", self.cls, self.texts, self.entry, self.ledger, self.path)
        axes = axes_of(self.cls, values, self.ledger, self.path)
        if lacks_seed(self.cls, values):
            axes[SEED] = [seed for seed in self.content.seeds if seed is not None]
        return axes

    @cached_property
    def costs(self) -> list[_Costed]:
        """Every schedule at every budget: those of the entry, or else of the study."""
        has_own = self.entry.budgets is not None or self.entry.schedules is not None
        if not self.cls.reduces:
            if has_own:
                self.ledger.add(self.path, "reduces nothing: leave out budgets and schedules.")
            return []
        source, path = (self.entry, self.path) if has_own else (self.content, ())
        budgets, schedules = source.budgets, source.schedules
        if budgets is None and schedules is None:
            budgets = DEFAULT_BUDGETS
        return [
            _Costed(Cost(schedule, budget), at_schedule, at_budget)
            for at_schedule, schedule in self._sound_texts((*path, "schedules"), schedules)
            for at_budget, budget in self._sound_texts((*path, "budgets"), budgets)
        ]

    def _sound_texts(
        self, path: KeyPath, texts: Sequence[str | None] | None
    ) -> list[tuple[KeyPath, str | None]]:
        """Return the valid schedules or budgets with their key paths; one None if none is given."""
        if texts is None:
            return [(path, None)]
        check = self._check_schedule if path[-1] == "schedules" else parse_budget
        sound: list[tuple[KeyPath, str | None]] = []
        for index, text in enumerate(texts):
            if text is not None:
                with self.ledger.at((*path, index)):
                    check(text)
                    sound.append(((*path, index), text))
        return sound

    def _check_schedule(self, text: str) -> None:
        """Raise KeeprateError for what is neither a schedule nor a preset of the method."""
        if preset_of(self.cls, text) is not None or text.startswith(PREFIX):
            return
        offers = registry().methods.values()
        owners = [offer.name for offer in offers if preset_of(offer.cls, text) is not None]
        if owners:
            raise KeeprateError(
                f"'{text}' is a preset of {owners[0]}, not of {self.cls.name}. Give it to that "
                "method alone."
            )
        parse_schedule(text)


def _followed(method: InputMethod, cost: Cost) -> Cost:
    """Return what a method follows of the costs that are given to all methods.

    Without another method after it, it has no stages; and a grid that is given has its own cost.
    """
    if method.reduces_after:
        return cost
    return Cost(budget=cost.budget if method.rows_and_columns is None else None)
