"""Expand the arguments of `keeprate.compare` to runs: every method at every cost and seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from ..costs import parse_budget
from ..errors import KeeprateError
from ..method import Method
from ..plugins.parameters import parameters_of, parse_spec
from ..plugins.registry import registry
from ..reduction.plan import preset_of
from ..reduction.reduce import resolve_method_class
from ..reduction.schedule import parse_schedule
from ..request import DEFAULT_BUDGETS, Cost, RunSpec

Named: TypeAlias = str | type[Method] | Method
SEED: Final = "seed"


@dataclass(frozen=True)
class RequestedMethod:
    """One of the methods asked for: its class, its parameter values, and the object as given."""

    cls: type[Method]
    values: dict[str, object]
    given: Method | type[Method] | None

    def runs(self, costs: Sequence[Cost], seeds: Sequence[int]) -> Iterator[RunSpec]:
        """Yield a run for every seed at every cost; none for a method that reduces nothing."""
        takes_seed = any(parameter.name == SEED for parameter in parameters_of(self.cls))
        # an instance, or a seed among the values, has its seed already
        varies = takes_seed and SEED not in self.values and not isinstance(self.given, Method)
        for cost in costs if self.cls.reduces else ():
            for seed_values in [{SEED: seed} for seed in seeds] if varies else [{}]:
                yield RunSpec(self.cls.name, {**seed_values, **self.values}, cost, self.given)


def entries_of(methods: Named | Sequence[Named] | None) -> list[RequestedMethod]:
    """Return the methods asked for, all registered ones for None.

    Raises KeeprateError for unknown names, objects that are no method, and two methods of one name.
    """
    offers = registry().methods
    if methods is None:
        return [RequestedMethod(offer.cls, {}, None) for offer in offers.values()]
    requested = [_parse_method(method) for method in _as_list(methods)]
    by_name: dict[str, type[Method]] = {name: offer.cls for name, offer in offers.items()}
    # reports tell methods apart by their names alone
    for entry in requested:
        if by_name.setdefault(entry.cls.name, entry.cls) is not entry.cls:
            raise KeeprateError(
                f"Two methods are named '{entry.cls.name}': give {entry.cls.__name__} another name."
            )
    return requested


def _parse_method(method: object) -> RequestedMethod:
    if isinstance(method, str):
        name, values = parse_spec(method)
        cls = registry().method(name)
        first_name = next((parameter.name for parameter in parameters_of(cls)), "")
        return RequestedMethod(
            cls, {key or first_name: value for key, value in values.items()}, None
        )
    if isinstance(method, Method):
        return RequestedMethod(type(method), {}, method)
    cls = resolve_method_class(method)
    offer = registry().methods.get(cls.name)
    # a registered class goes by its name, so that the run can be asked for on another machine
    return RequestedMethod(cls, {}, None if offer is not None and offer.cls is cls else cls)


def costs_of(
    schedules: str | Sequence[str] | None,
    budgets: str | float | Sequence[str | float] | None,
    chosen: Sequence[RequestedMethod],
) -> list[Cost]:
    """Return every schedule at every budget. Raises KeeprateError for one that is malformed."""
    budget_texts = [str(budget) for budget in _as_list(budgets)]
    for budget in budget_texts:
        parse_budget(budget)
    schedule_texts = [str(schedule) for schedule in _as_list(schedules)]
    for schedule in schedule_texts:
        if not any(preset_of(method.cls, schedule) for method in chosen):
            parse_schedule(schedule)
    # a schedule alone says how much is kept: the default budgets are for calls with neither
    budget_list = budget_texts or (() if schedule_texts else DEFAULT_BUDGETS)
    return [
        Cost(schedule, budget)
        for schedule in schedule_texts or (None,)
        for budget in budget_list or (None,)
    ]


def _as_list(value: Any) -> list[Any]:
    """Return one value, or several, as a list; an empty list for None."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def seeds_of(seeds: Sequence[int] | int) -> list[int]:
    """Return one or several seeds as a list; KeeprateError for anything else."""
    seed_list = _as_list(seeds)
    # the exact type, because True is an int as well
    if not seed_list or any(type(seed) is not int for seed in seed_list):
        raise KeeprateError(f"seeds must be one or more whole numbers, not {seeds!r}.")
    return seed_list
