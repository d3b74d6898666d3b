"""Accuracies and differences of runs, whether of one seed or of several, as findings hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..model import Interval, PairedDifference
from ..runs import ScoredRun
from ..statistics import (
    BootstrapEstimate,
    Difference,
    PairedComparison,
    difference,
    judge,
    mcnemar_exact,
    mean_over_seeds,
    paired_difference,
    wilson_interval,
)

Name = TypeVar("Name")


def outcomes(runs: Sequence[ScoredRun]) -> NDArray[np.bool_]:
    """Whether each run was right on each image, (S, N)."""
    return np.stack([each.correct for each in runs])


def accuracy(runs: Sequence[ScoredRun], level: float) -> Interval:
    """Top-1 in per cent: of one run with Wilson's interval, of several seeds for other seeds too.

    Sources: see `keeprate.analysis.statistics.wilson_interval` and `mean_over_seeds`.
    """
    if len(runs) > 1:
        return percent(mean_over_seeds(outcomes(runs), level))
    (only,) = runs
    images = only.result.measured.images
    low, high = wilson_interval(only.right, images, level)
    return Interval(100 * only.right / images, 100 * low, 100 * high)


def compared(a: Sequence[ScoredRun], b: Sequence[ScoredRun], level: float) -> Difference:
    """How much more accurate (share) `a` is than `b` on the same images: interval and test.

    One run against one: as in the table of runs, Agresti and Min's interval and McNemar's exact
    test. With several seeds of either: `keeprate.analysis.statistics.difference`.
    """
    if len(a) > 1 or len(b) > 1:
        return difference(outcomes(a), outcomes(b), level)
    first, second = a[0].correct, b[0].correct
    value, low, high = paired_difference(first, second, level)
    return Difference(value, low, high, mcnemar_exact(first, second))


def verdicts(differences: Mapping[Name, Difference], level: float) -> dict[Name, PairedDifference]:
    """Judge differences as one family, with Holm's correction."""
    family = len(differences)
    return {name: _verdict(each, family) for name, each in judge(differences, level).items()}


def percent(estimate: BootstrapEstimate) -> Interval:
    """A share and its interval in per cent."""
    return Interval(100 * estimate.value, 100 * estimate.low, 100 * estimate.high)


def mean(values: Sequence[float]) -> float:
    """The mean of a figure over seeds."""
    return float(np.mean(values))


def _verdict(found: PairedComparison, family: int) -> PairedDifference:
    return PairedDifference(
        difference=Interval(found.difference_points, found.low_points, found.high_points),
        p_value=found.p_value,
        adjusted_p_value=found.adjusted_p_value,
        family=family,
        distinguishable=found.distinguishable,
        text=found.verdict,
    )
