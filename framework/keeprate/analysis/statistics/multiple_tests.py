"""Many runs against one: differences in points, corrected p-values, and what they say in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .seeds import Difference, difference

Name = TypeVar("Name")
"""What tells the differences of a family apart, such as a label or a label and a budget."""


@dataclass(frozen=True)
class PairedComparison:
    """One difference among several: in percentage points, its interval, and the verdict.

    The interval is for this difference alone. `adjusted_p_value` is Holm's over all that were
    judged together; `distinguishable` is whether it says there is a difference, and `verdict`
    says all of it in words.
    """

    difference_points: float
    low_points: float
    high_points: float
    p_value: float
    adjusted_p_value: float
    distinguishable: bool
    verdict: str


def compare_runs(
    runs: Mapping[str, ArrayLike], reference: ArrayLike, level: float = 0.95
) -> dict[str, PairedComparison]:
    """Compare the outcomes of each run with the reference's on the same images, in the same order.

    Outcomes are (N,), or (S, N) of several seeds. The runs are one family: with more of them, more
    evidence is asked of each. Raises ValueError as `difference` does. Sources: see `difference`,
    `holm`.
    """
    found = {name: difference(run, reference, level) for name, run in runs.items()}
    return judge(found, level)


def judge(
    differences: Mapping[Name, Difference], level: float = 0.95
) -> dict[Name, PairedComparison]:
    """Correct the p-values of differences (shares, -1 to 1) together, and say what they mean.

    Better or worse is said where the corrected p-value is at most 1 - `level` and the interval
    holds only one sign. Raises ValueError as `holm` does. Source: see `holm`.
    """
    adjusted = holm([each.p_value for each in differences.values()])
    return {
        name: _comparison(each, p_value, 1 - level)
        for (name, each), p_value in zip(differences.items(), adjusted, strict=True)
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values, in their order, for being several: the chance of any false alarm is kept.

    The k-th smallest of m is multiplied by m - k + 1, never ends up below a smaller one's, and
    never above 1. Valid whatever the dependence, so also for runs on the same images. Raises
    ValueError for anything not from 0 to 1. Source: Holm 1979, "A simple sequentially rejective
    multiple test procedure", Scandinavian Journal of Statistics 6.
    """
    plain = np.asarray(p_values, dtype=np.float64)
    if not ((plain >= 0) & (plain <= 1)).all():
        raise ValueError("p-values lie between 0 and 1")
    order = np.argsort(plain, kind="stable")
    scaled = plain[order] * np.arange(len(plain), 0, -1)
    adjusted = np.empty_like(plain)
    adjusted[order] = np.maximum.accumulate(scaled).clip(max=1)
    return [float(each) for each in adjusted]


def _comparison(found: Difference, adjusted: float, alpha: float) -> PairedComparison:
    distinguishable = adjusted <= alpha and not found.low <= 0 <= found.high
    points, low, high = (100 * each for each in (found.value, found.low, found.high))
    verdict = _verdict(points, low, high, None if distinguishable else adjusted)
    return PairedComparison(points, low, high, found.p_value, adjusted, distinguishable, verdict)


def _verdict(points: float, low: float, high: float, doubt: float | None) -> str:
    """`doubt` is the adjusted p-value of a difference that is not distinguishable."""
    digits = _digits(high - low)
    if doubt is not None:
        shown = f"{points:+z.{digits}f} points [{low:z.{digits}f}, {high:z.{digits}f}]"
        return f"not distinguishable (difference {shown}, adjusted p = {doubt:.3f})"
    word = "better" if points > 0 else "worse"
    near, far = sorted((abs(low), abs(high)))
    return f"{word} by {abs(points):.{digits}f} points [{near:.{digits}f}, {far:.{digits}f}]"


def _digits(width: float) -> int:
    """Decimals that show two figures of a width in points, one decimal at least."""
    return max(1, 1 - math.floor(math.log10(width))) if width > 0 else 1
