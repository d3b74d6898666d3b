"""Budgets, which limit the cost of a run, and the display of multiply-accumulates."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import KeeprateError

TOLERANCE = 0.005
"""Share of the budget by which a solved cost may fall short before the user is told."""


@dataclass(frozen=True)
class Budget:
    """The largest cost of one image: `macs`, or a `share` of the unpruned model's cost."""

    text: str
    macs: int | None = None
    share: float | None = None

    def of(self, unpruned: int) -> int:
        """Return the budget in multiply-accumulates for a model that costs `unpruned`."""
        return self.macs if self.macs is not None else int((self.share or 0.0) * unpruned)


def parse_budget(text: str | float) -> Budget:
    """Parse `0.8` (GMACs), `0.8G`, `800M` or `65%` (of the unpruned model).

    Raises KeeprateError for anything else, for shares outside (0, 100 %] and for endless numbers.
    """
    refuse_long_numbers(str(text))
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([GM%]?)\s*", str(text))
    if not match or float(match[1]) <= 0 or (match[2] == "%" and float(match[1]) > 100):
        raise KeeprateError(
            f"'{text}' is not a budget. Write GMACs (0.8), 800M, or a share of the unpruned model "
            "(65%)."
        )
    number, unit = float(match[1]), match[2]
    if unit == "%":
        return Budget(str(text), share=number / 100)
    return Budget(str(text), macs=round(number * (1e6 if unit == "M" else 1e9)))


def refuse_long_numbers(text: str) -> None:
    """Raise KeeprateError if a number in a budget or a schedule is too long to compute with."""
    if re.search(r"\d{19}", text):
        raise KeeprateError(f"'{text[:40]}' has a number of more than 18 digits. Round it.")


def gmacs(macs: float) -> str:
    """Format multiply-accumulates for people: GMACs, or MMACs for small models."""
    return f"{macs / 1e9:.4f} GMACs" if macs >= 1e8 else f"{macs / 1e6:.3f} MMACs"
