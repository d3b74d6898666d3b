"""Accuracy over cost: make every series a curve, read it off at the budgets and average it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from ...errors import KeeprateError
from ..metrics import MetricInfo
from ..model import AreaDifference, CurveFinding, CurveReading, Interval, ReportOptions
from ..runs import ScoredRun
from ..series import Level, SeriesTable
from ..statistics import (
    BootstrapEstimate,
    Curve,
    Difference,
    Missing,
    accuracy_at,
    area_difference,
    area_under_curve,
    common_range,
)
from .paired import goodness, mean, outcomes, scaled, verdicts

MOST_CURVES: Final = 60
"""Most curves of a group that are computed, as each of their bootstrap intervals takes a while."""
_MOST_PAIRED: Final = 8
"""Most curves that are all compared with one another; more are compared with the reference."""

_Runs = Mapping[str, Sequence[tuple[ScoredRun, ...]]]


def curve_findings(
    arranged: SeriesTable, options: ReportOptions
) -> tuple[tuple[CurveFinding, ...], tuple[AreaDifference, ...]]:
    """Return curves of the series that were run at several costs, and differences of their areas.

    The unpruned run, if there is one, is the last point of every curve. Areas are over the costs
    that all curves share. Of more than `MOST_CURVES` series the reference is taken first, then the
    most accurate ones; `left_out` returns the others.
    """
    runs_by_series = _points(arranged, options)
    curves: dict[str, Curve] = {}
    for name in runs_by_series:
        try:
            curves[name] = _curve(runs_by_series[name], arranged.unpruned)
        except KeeprateError:  # a series without a valid curve is still in the other tables
            continue
    shared = common_range(curves.values())
    levels = [level for level in arranged.levels if level.asked]
    if not levels:  # nobody named a budget: read off where at least two series can be compared
        levels = [level for level in arranged.levels if len(arranged.members[level]) > 1]
    findings = tuple(
        _finding(name, curve, runs_by_series[name], levels, shared, options.level)
        for name, curve in curves.items()
    )
    return findings, _area_differences(arranged, curves, shared, options)


def left_out(arranged: SeriesTable, options: ReportOptions) -> tuple[str, ...]:
    """Return the series that were run at several costs but have no curve: there are too many."""
    return tuple(sorted(_ranked(_points_by_series(arranged), options)[MOST_CURVES:]))


def _points(arranged: SeriesTable, options: ReportOptions) -> _Runs:
    """Return, by series, its runs at each cost, for the seeds that were run at all its costs."""
    points_by_series = _points_by_series(arranged)
    selected = _ranked(points_by_series, options)[:MOST_CURVES]
    return {name: _same_seeds(points_by_series[name]) for name in sorted(selected)}


def _points_by_series(arranged: SeriesTable) -> _Runs:
    """Return, by series, its runs at each cost; series with one cost only are left out."""
    points_by_series: dict[str, list[tuple[ScoredRun, ...]]] = {}
    for level in arranged.levels:
        for name, runs in arranged.members[level].items():
            points_by_series.setdefault(name, []).append(runs)
    return {name: points for name, points in points_by_series.items() if len(points) > 1}


def _ranked(points_by_series: _Runs, options: ReportOptions) -> list[str]:
    """Return the names in order: the reference or all series of that method, then the best."""
    referenced = {
        name
        for name, points in points_by_series.items()
        if options.reference in (name, points[0][0].run.method)
    }
    return sorted(
        points_by_series,
        key=lambda name: (name not in referenced, -_mean_goodness(points_by_series[name]), name),
    )


def _mean_goodness(points: Sequence[tuple[ScoredRun, ...]]) -> float:
    return goodness([run for runs in points for run in runs])


def _same_seeds(points: Sequence[tuple[ScoredRun, ...]]) -> list[tuple[ScoredRun, ...]]:
    seeds = set.intersection(*({run.run.seed for run in runs} for runs in points))
    return [tuple(run for run in runs if run.run.seed in seeds) for runs in points]


def _curve(points: Sequence[tuple[ScoredRun, ...]], unpruned: ScoredRun | None) -> Curve:
    """Make a curve; KeeprateError where no seed was run at all costs, or two costs are equal."""
    if not all(points):
        raise KeeprateError("No seed was run at all costs: run the missing ones.")
    pairs = [(mean([run.macs for run in runs]), outcomes(runs)) for runs in points]
    # a run may cost as much as the unpruned model, and a curve has each cost once
    if unpruned and unpruned.macs > max(cost for cost, _ in pairs):
        pairs.append((unpruned.macs, outcomes([unpruned])))
    return Curve.of(pairs, points[0][0].metric.bounds)


def _finding(
    name: str,
    curve: Curve,
    points: Sequence[tuple[ScoredRun, ...]],
    levels: Sequence[Level],
    shared: tuple[float, float] | None,
    confidence: float,
) -> CurveFinding:
    readings, metric = [], points[0][0].metric
    for level in levels:
        interval, reason = _interval_or_reason(accuracy_at(curve, level.macs, confidence), metric)
        readings.append(CurveReading(level.text, level.macs, interval, reason))
    missing = Missing("the curves share no range of costs")
    area, reason = _interval_or_reason(
        area_under_curve(curve, shared, confidence) if shared else missing, metric
    )
    low, high = curve.range
    return CurveFinding(
        series=name,
        run_ids=tuple(run.id for runs in points for run in runs),
        low_macs=low,
        high_macs=high,
        readings=tuple(readings),
        area=area,
        area_macs=shared,
        reason=reason,
    )


def _interval_or_reason(
    estimate: BootstrapEstimate | Missing, metric: MetricInfo
) -> tuple[Interval | None, str]:
    if isinstance(estimate, Missing):
        return None, estimate.reason
    return scaled(estimate, metric), ""


def _area_differences(
    arranged: SeriesTable,
    curves: Mapping[str, Curve],
    shared: tuple[float, float] | None,
    options: ReportOptions,
) -> tuple[AreaDifference, ...]:
    if shared is None:
        return ()
    differences: dict[tuple[str, str], Difference] = {}
    for a, b in _pairs(arranged, curves, options):
        difference = area_difference(curves[a], curves[b], shared, options.level)
        if not isinstance(difference, Missing):
            differences[a, b] = difference
    verdict_by_pair = verdicts(differences, options.level, arranged.metric)
    return tuple(
        AreaDifference(a, b, shared, verdict) for (a, b), verdict in verdict_by_pair.items()
    )


def _pairs(
    arranged: SeriesTable, curves: Mapping[str, Curve], options: ReportOptions
) -> list[tuple[str, str]]:
    """Return all pairs of a few curves; of many, each with the reference or else the first."""
    if len(curves) <= _MOST_PAIRED:
        return list(combinations(curves, 2))
    methods = {
        name: runs[0].run.method
        for members in arranged.members.values()
        for name, runs in members.items()
    }
    referenced = [name for name in curves if options.reference in (name, methods[name])]
    reference = (referenced or list(curves))[0]
    return [(name, reference) for name in curves if name != reference]
