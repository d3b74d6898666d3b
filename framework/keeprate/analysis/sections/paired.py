"""Compute scores and differences of runs, of one seed or of several, for the findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..metrics import MetricInfo, measured_metrics
from ..model import Interval, PairedDifference
from ..runs import ScoredRun
from ..statistics import (
    BootstrapEstimate,
    Difference,
    PairedComparison,
    Scale,
    difference,
    judge,
    mcnemar_exact,
    mean_over_seeds,
    paired_difference,
    wilson_interval,
)

Name = TypeVar("Name")


def outcomes(runs: Sequence[ScoredRun]) -> NDArray[Any]:
    """Return the score of each run on each image, (S, N)."""
    return np.stack([run.scores for run in runs])


def score(runs: Sequence[ScoredRun], level: float) -> Interval:
    """Return the mean score with its interval; that of several seeds covers other seeds too.

    One run gets Wilson's interval where scores are true or false, else the bootstrap's. Sources:
    see `keeprate.analysis.statistics.wilson_interval` and `mean_over_seeds`.
    """
    metric = runs[0].metric
    if len(runs) > 1 or not runs[0].is_binary:
        return scaled(mean_over_seeds(outcomes(runs), level, metric.bounds), metric)
    (only,) = runs
    ends = wilson_interval(only.right, only.count, level)
    return scaled(BootstrapEstimate(only.mean, *ends), metric)


def compared(a: Sequence[ScoredRun], b: Sequence[ScoredRun], level: float) -> Difference:
    """Return how much higher `a` scores than `b` on the same images, with an interval and a test.

    One run against one gets Tango's interval and McNemar's exact test where scores are
    true or false. Other scores and several seeds get those of
    `keeprate.analysis.statistics.difference`.
    """
    if len(a) > 1 or len(b) > 1 or not (a[0].is_binary and b[0].is_binary):
        bounds = a[0].metric.bounds
        limit = bounds[1] - bounds[0] if bounds else None
        return difference(outcomes(a), outcomes(b), level, limit)
    first, second = a[0].scores == 1, b[0].scores == 1
    value, low, high = paired_difference(first, second, level)
    return Difference(value, low, high, mcnemar_exact(first, second))


def verdicts(
    differences: Mapping[Name, Difference], level: float, metric: MetricInfo
) -> dict[Name, PairedDifference]:
    """Judge differences of scores by `metric` as one family, with Holm's correction."""
    family = len(differences)
    scale = Scale(metric.scale, metric.difference_unit, metric.higher_is_better)
    judged = judge(differences, level, scale)
    return {name: _verdict(comparison, family) for name, comparison in judged.items()}


def scaled(estimate: BootstrapEstimate, metric: MetricInfo) -> Interval:
    """Return an estimate in the unit in which a metric is shown."""
    ends = (estimate.value, estimate.low, estimate.high)
    return Interval(*(metric.scale * end for end in ends))


def all_metrics(runs: Sequence[ScoredRun]) -> dict[str, float]:
    """Return the mean over runs of every metric that all of them have, in the unit shown."""
    measured = [run.result.measured.metrics for run in runs]
    shared = [name for name in measured[0] if all(name in figures for figures in measured)]
    return {
        info.name: info.scale * mean([figures[info.name] for figures in measured])
        for info in measured_metrics(shared)
    }


def goodness(runs: Sequence[ScoredRun]) -> float:
    """Return the mean over runs of what sorts them, higher for better ones."""
    return mean([run.goodness for run in runs])


def mean(values: Sequence[float]) -> float:
    """Return the mean of a figure over seeds."""
    return float(np.mean(values))


def _verdict(comparison: PairedComparison, family: int) -> PairedDifference:
    return PairedDifference(
        difference=Interval(comparison.difference, comparison.low, comparison.high),
        p_value=comparison.p_value,
        adjusted_p_value=comparison.adjusted_p_value,
        family=family,
        distinguishable=comparison.distinguishable,
        text=comparison.verdict,
    )
