"""Compute accuracies and differences of runs, of one seed or of several, for the findings."""

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
    """Return whether each run was right on each image, (S, N)."""
    return np.stack([run.correct for run in runs])


def accuracy(runs: Sequence[ScoredRun], level: float) -> Interval:
    """Return top-1 in per cent with its interval; that of several seeds covers other seeds too.

    One run gets Wilson's interval. Sources: see `keeprate.analysis.statistics.wilson_interval` and
    `mean_over_seeds`.
    """
    if len(runs) > 1:
        return percent(mean_over_seeds(outcomes(runs), level))
    (only,) = runs
    images = only.result.measured.images
    low, high = wilson_interval(only.right, images, level)
    return Interval(100 * only.right / images, 100 * low, 100 * high)


def compared(a: Sequence[ScoredRun], b: Sequence[ScoredRun], level: float) -> Difference:
    """Return how much more accurate (share) `a` is than `b` on the same images, with a test.

    One run against one gets what the table of runs has: Agresti and Min's interval and McNemar's
    exact test. Several seeds get those of `keeprate.analysis.statistics.difference`.
    """
    if len(a) > 1 or len(b) > 1:
        return difference(outcomes(a), outcomes(b), level)
    first, second = a[0].correct, b[0].correct
    value, low, high = paired_difference(first, second, level)
    return Difference(value, low, high, mcnemar_exact(first, second))


def verdicts(differences: Mapping[Name, Difference], level: float) -> dict[Name, PairedDifference]:
    """Judge differences as one family, with Holm's correction."""
    family = len(differences)
    return {
        name: _verdict(comparison, family) for name, comparison in judge(differences, level).items()
    }


def percent(estimate: BootstrapEstimate) -> Interval:
    """Convert a share and its interval to per cent."""
    return Interval(100 * estimate.value, 100 * estimate.low, 100 * estimate.high)


def mean(values: Sequence[float]) -> float:
    """Return the mean of a figure over seeds."""
    return float(np.mean(values))


def _verdict(comparison: PairedComparison, family: int) -> PairedDifference:
    return PairedDifference(
        difference=Interval(
            comparison.difference_points, comparison.low_points, comparison.high_points
        ),
        p_value=comparison.p_value,
        adjusted_p_value=comparison.adjusted_p_value,
        family=family,
        distinguishable=comparison.distinguishable,
        text=comparison.verdict,
    )
