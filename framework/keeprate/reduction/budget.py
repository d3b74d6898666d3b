"""Solve a schedule's one free scale so that a run costs what the budget allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

from ..costs import TOLERANCE, gmacs
from ..errors import KeeprateError

Found = TypeVar("Found")
"""What a scale stands for: stages, or sizes of the input."""

LARGEST_SCALE = 2.0**16
"""Far beyond the scale at which a schedule has removed all that it can."""


@dataclass(frozen=True)
class Solution(Generic[Found]):
    """What was found, its cost, and the next higher cost (None if nothing costs more).

    `scale` is the scale at which it was found.
    """

    found: Found
    macs: int
    next_macs: int | None
    budget_macs: int
    scale: float

    @property
    def note(self) -> str | None:
        """A sentence for the user if the cost is outside the tolerance, else None."""
        if self.macs > self.budget_macs:
            return f"{gmacs(self.budget_macs)} is out of reach: {gmacs(self.macs)} is used."
        if self.macs >= (1 - TOLERANCE) * self.budget_macs:
            return None
        above = "" if self.next_macs is None else f" and {gmacs(self.next_macs)}"
        return (
            f"Token counts are too coarse for {gmacs(self.budget_macs)}: the nearest reachable "
            f"costs are {gmacs(self.macs)} (used){above}."
        )


def solve(
    make: Callable[[float], Found],
    price: Callable[[Found], int],
    allowed: int,
    what: str,
    *,
    or_cheapest: bool = False,
) -> Solution[Found]:
    """Return the costliest that costs at most `allowed` multiply-accumulates.

    `make` gives the stages, or what else is hashable, at a scale (0 removes nothing, a larger scale
    removes more), `price` their total MACs, overhead included; `what` names the schedule in errors.
    Raises KeeprateError if the budget is out of reach; the error names the costs that can be
    reached. With `or_cheapest` the function returns the cheapest stages instead of raising this
    error.
    """

    priced = cache(price)  # most scales tried make stages that were tried before

    def at(scale: float) -> int:
        return priced(make(scale))

    if or_cheapest and at(LARGEST_SCALE) > allowed:
        return Solution(make(LARGEST_SCALE), at(LARGEST_SCALE), None, allowed, LARGEST_SCALE)
    low, high = _bracket(at, allowed, what)
    for _ in range(64):  # a float64 has 53 bits: more halvings change nothing
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle) <= allowed else (middle, high)
    # `low` ends as the nearest scale that costs too much: its cost is the next one above
    return Solution(make(high), at(high), at(low) if low < high else None, allowed, high)


def _bracket(at: Callable[[float], int], allowed: int, what: str) -> tuple[float, float]:
    """Return two scales: the first costs more than `allowed`, the second does not."""
    dearest = at(0.0)
    if dearest <= allowed:
        # a budget far above the whole model is a mistake, as 65 GMACs written for 65%
        if dearest < (1 - TOLERANCE) * allowed:
            raise KeeprateError(
                f"A budget of {gmacs(allowed)} is more than {what} can spend: "
                f"at most {gmacs(dearest)}. A share is written with %, as 65%."
            )
        return 0.0, 0.0
    high = 1 / 64
    while at(high) > allowed:
        high *= 2
        if high > LARGEST_SCALE:
            raise KeeprateError(
                f"A budget of {gmacs(allowed)} is out of reach of {what}: "
                f"it costs {gmacs(at(high))} at least and {gmacs(dearest)} at most."
            )
    return 0.0, high
