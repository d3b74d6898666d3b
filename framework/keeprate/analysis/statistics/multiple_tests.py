"""Compare many runs with one: differences in points, corrected p-values, verdicts in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .seeds import Difference, difference

Name = TypeVar("Name")
"""The key of a difference within its family, such as a label or a label and a budget."""


@dataclass(frozen=True)
class Scale:
    """How differences are told: times `factor` in `unit`, and whether more is better."""

    factor: float = 100.0
    unit: str = "points"
    higher_is_better: bool = True


POINTS: Final = Scale()
"""Shares, such as accuracies: their differences in percentage points."""


@dataclass(frozen=True)
class PairedComparison:
    """One difference among several, in the unit of a `Scale`, with its interval and the verdict.

    The interval is for this difference alone. `adjusted_p_value` is Holm's over all differences
    that were judged together; `distinguishable` says whether there is a difference, and `verdict`
    says all of it in words.
    """

    difference: float
    low: float
    high: float
    p_value: float
    adjusted_p_value: float
    distinguishable: bool
    verdict: str


def compare_runs(
    runs: Mapping[str, ArrayLike], reference: ArrayLike, level: float = 0.95
) -> dict[str, PairedComparison]:
    """Compare the outcomes of each run with the reference's on the same images, in the same order.

    Outcomes are (N,), or (S, N) of several seeds. The runs are one family: the more runs there are,
    the more evidence each needs. Raises ValueError as `difference` does. Sources: see
    `difference`, `holm`.
    """
    differences = {name: difference(run, reference, level) for name, run in runs.items()}
    return judge(differences, level)


def judge(
    differences: Mapping[Name, Difference], level: float = 0.95, scale: Scale = POINTS
) -> dict[Name, PairedComparison]:
    """Correct the p-values of differences together, and say what they mean on a scale.

    Better or worse is said where the corrected p-value is at most 1 - `level` and the interval
    holds only one sign. Raises ValueError as `holm` does. Source: see `holm`.
    """
    adjusted = holm([difference.p_value for difference in differences.values()])
    return {
        name: _comparison(difference, p_value, 1 - level, scale)
        for (name, difference), p_value in zip(differences.items(), adjusted, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust several p-values, so that the chance of any false alarm is that of a single test.

    The k-th smallest of m is multiplied by m - k + 1; it is never below the result of a smaller
    one and never above 1. The order is kept. This is valid for any dependence, so also for runs on
    the same images. Raises ValueError for a value that is not from 0 to 1. Source: Holm 1979, "A
    simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6.
    """
    plain = np.asarray(p_values, dtype=np.float64)
    if not ((plain >= 0) & (plain <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(plain, kind="stable")
    scaled = plain[order] * np.arange(len(plain), 0, -1)
    adjusted = np.empty_like(plain)
    adjusted[order] = np.maximum.accumulate(scaled).clip(max=1)
    return [float(p_value) for p_value in adjusted]


def _comparison(
    difference: Difference, adjusted: float, alpha: float, scale: Scale
) -> PairedComparison:
    # test and interval come from different methods, so they are both asked
    distinguishable = adjusted <= alpha and not difference.low <= 0 <= difference.high
    value, low, high = (
        scale.factor * end for end in (difference.value, difference.low, difference.high)
    )
    verdict = _verdict(value, low, high, None if distinguishable else adjusted, scale)
    return PairedComparison(
        value, low, high, difference.p_value, adjusted, distinguishable, verdict
    )


def _verdict(value: float, low: float, high: float, doubt: float | None, scale: Scale) -> str:
    """Write a verdict; `doubt` is the adjusted p-value of a difference that is in doubt."""
    digits, unit = _digits(high - low), f" {scale.unit}".rstrip()
    if doubt is not None:
        figures = f"{value:+z.{digits}f}{unit} [{low:z.{digits}f}, {high:z.{digits}f}]"
        return f"not distinguishable (difference {figures}, adjusted p = {doubt:.3f})"
    word = "better" if (value > 0) is scale.higher_is_better else "worse"
    # a negative difference loses its sign, and with it the order of the ends
    near, far = sorted((abs(low), abs(high)))
    return f"{word} by {abs(value):.{digits}f}{unit} [{near:.{digits}f}, {far:.{digits}f}]"


def _digits(width: float) -> int:
    """Return the decimals that show two digits of a width, from one decimal to six."""
    return min(6, max(1, 1 - math.floor(math.log10(width)))) if width > 0 else 1
