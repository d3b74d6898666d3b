"""The runs that a call of `keeprate.compare` asks for: methods, costs and seeds, crossed."""

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
    """One of the methods asked for: its class, its values, itself where it was given as it is."""

    cls: type[Method]
    values: dict[str, object]
    given: Method | type[Method] | None

    def runs(self, costs: Sequence[Cost], seeds: Sequence[int]) -> Iterator[RunSpec]:
        """Every seed at every cost; none for what reduces nothing."""
        takes_seed = any(each.name == SEED for each in parameters_of(self.cls))
        varies = takes_seed and SEED not in self.values and not isinstance(self.given, Method)
        for cost in costs if self.cls.reduces else ():
            for brought in [{SEED: seed} for seed in seeds] if varies else [{}]:
                yield RunSpec(self.cls.name, {**brought, **self.values}, cost, self.given)


def entries_of(methods: Named | Sequence[Named] | None) -> list[RequestedMethod]:
    """Return the methods asked for, all registered ones for None.

    Raises KeeprateError for unknown names, what is no method, and two methods of one name.
    """
    known = registry().methods
    if methods is None:
        return [RequestedMethod(each.cls, {}, None) for each in known.values()]
    found = [_entry(each) for each in _listed(methods)]
    by_name: dict[str, type[Method]] = {name: offer.cls for name, offer in known.items()}
    for each in found:
        if by_name.setdefault(each.cls.name, each.cls) is not each.cls:
            raise KeeprateError(
                f"Two methods are named '{each.cls.name}': give {each.cls.__name__} another name."
            )
    return found


def _entry(method: object) -> RequestedMethod:
    if isinstance(method, str):
        name, values = parse_spec(method)
        cls = registry().method(name)
        first = next((each.name for each in parameters_of(cls)), "")
        return RequestedMethod(cls, {key or first: value for key, value in values.items()}, None)
    if isinstance(method, Method):
        return RequestedMethod(type(method), {}, method)
    cls = resolve_method_class(method)
    offer = registry().methods.get(cls.name)
    return RequestedMethod(cls, {}, None if offer is not None and offer.cls is cls else cls)


def costs_of(
    schedules: str | Sequence[str] | None,
    budgets: str | float | Sequence[str | float] | None,
    chosen: Sequence[RequestedMethod],
) -> list[Cost]:
    """Return every schedule at every budget; KeeprateError for one that cannot be read."""
    texts = [str(each) for each in _listed(budgets)]
    for budget in texts:
        parse_budget(budget)
    forms = [str(each) for each in _listed(schedules)]
    for schedule in forms:
        if not any(preset_of(each.cls, schedule) for each in chosen):
            parse_schedule(schedule)
    asked = texts or (() if forms else DEFAULT_BUDGETS)
    return [Cost(schedule, budget) for schedule in forms or (None,) for budget in asked or (None,)]


def _listed(value: Any) -> list[Any]:
    """One thing or several, as a list."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


def seeds_of(seeds: Sequence[int] | int) -> list[int]:
    """Return one or several seeds as a list; KeeprateError for anything else."""
    found = _listed(seeds)
    if not found or any(type(each) is not int for each in found):
        raise KeeprateError(f"seeds must be one or more whole numbers, not {seeds!r}.")
    return found
