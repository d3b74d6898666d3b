"""Accuracy over cost: every series as a curve, read off at the budgets and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

from ...errors import KeeprateError
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
from .paired import mean, outcomes, percent, verdicts

MOST_CURVES: Final = 60
"""Curves of a group that are worked out, the most accurate first: each reading takes a while."""
_MOST_PAIRED: Final = 8
"""Curves that are all compared with one another; of more, each with the reference alone."""

_Runs = Mapping[str, Sequence[tuple[ScoredRun, ...]]]


def curve_findings(
    arranged: SeriesTable, options: ReportOptions
) -> tuple[tuple[CurveFinding, ...], tuple[AreaDifference, ...]]:
    """Curves of the series that were run at several costs, and differences of their areas.

    The unpruned run, if there is one, ends every curve. Areas are over the costs that all curves
    share. Of more than `MOST_CURVES` series those that others are compared with are taken first,
    then the most accurate ones; `left_out` are the others.
    """
    runs = _points(arranged, options)
    curves: dict[str, Curve] = {}
    for name in runs:
        try:
            curves[name] = _curve(runs[name], arranged.unpruned)
        except KeeprateError:
            continue
    shared = common_range(curves.values())
    levels = [level for level in arranged.levels if level.asked]
    if not levels:
        levels = [level for level in arranged.levels if len(arranged.members[level]) > 1]
    found = tuple(
        _finding(name, curve, runs[name], levels, shared, options.level)
        for name, curve in curves.items()
    )
    return found, _area_differences(arranged, curves, shared, options)


def left_out(arranged: SeriesTable, options: ReportOptions) -> tuple[str, ...]:
    """The series that were run at several costs and have no curve, as there are too many."""
    return tuple(sorted(_ranked(_several(arranged), options)[MOST_CURVES:]))


def _points(arranged: SeriesTable, options: ReportOptions) -> _Runs:
    """By series, its runs at each cost, with the seeds it has at all of them."""
    several = _several(arranged)
    chosen = _ranked(several, options)[:MOST_CURVES]
    return {name: _same_seeds(several[name]) for name in sorted(chosen)}


def _several(arranged: SeriesTable) -> _Runs:
    """By series, its runs at each cost, where there is more than one."""
    found: dict[str, list[tuple[ScoredRun, ...]]] = {}
    for level in arranged.levels:
        for name, runs in arranged.members[level].items():
            found.setdefault(name, []).append(runs)
    return {name: points for name, points in found.items() if len(points) > 1}


def _ranked(several: _Runs, options: ReportOptions) -> list[str]:
    """The series that is the reference, or those of the method that is; then the most accurate."""
    wanted = {
        name
        for name, points in several.items()
        if options.reference in (name, points[0][0].run.method)
    }
    return sorted(several, key=lambda name: (name not in wanted, -_height(several[name]), name))


def _height(points: Sequence[tuple[ScoredRun, ...]]) -> float:
    return mean([each.right / each.result.measured.images for runs in points for each in runs])


def _same_seeds(points: Sequence[tuple[ScoredRun, ...]]) -> list[tuple[ScoredRun, ...]]:
    seeds = set.intersection(*({each.run.seed for each in runs} for runs in points))
    return [tuple(each for each in runs if each.run.seed in seeds) for runs in points]


def _curve(points: Sequence[tuple[ScoredRun, ...]], unpruned: ScoredRun | None) -> Curve:
    """Raises KeeprateError where no seed was run at all costs, or two costs are the same."""
    if not all(points):
        raise KeeprateError("No seed was run at all costs: run the missing ones.")
    pairs = [(mean([each.macs for each in runs]), outcomes(runs)) for runs in points]
    if unpruned and unpruned.macs > max(cost for cost, _ in pairs):
        pairs.append((unpruned.macs, outcomes([unpruned])))
    return Curve.of(pairs)


def _finding(
    name: str,
    curve: Curve,
    points: Sequence[tuple[ScoredRun, ...]],
    levels: Sequence[Level],
    shared: tuple[float, float] | None,
    confidence: float,
) -> CurveFinding:
    readings = []
    for level in levels:
        shown, reason = _shown(accuracy_at(curve, level.macs, confidence))
        readings.append(CurveReading(level.text, level.macs, shown, reason))
    missing = Missing("the curves share no range of costs")
    area, reason = _shown(area_under_curve(curve, shared, confidence) if shared else missing)
    low, high = curve.range
    return CurveFinding(
        series=name,
        run_ids=tuple(each.id for runs in points for each in runs),
        low_macs=low,
        high_macs=high,
        readings=tuple(readings),
        area=area,
        area_macs=shared,
        reason=reason,
    )


def _shown(found: BootstrapEstimate | Missing) -> tuple[Interval | None, str]:
    return (None, found.reason) if isinstance(found, Missing) else (percent(found), "")


def _area_differences(
    arranged: SeriesTable,
    curves: Mapping[str, Curve],
    shared: tuple[float, float] | None,
    options: ReportOptions,
) -> tuple[AreaDifference, ...]:
    if shared is None:
        return ()
    found: dict[tuple[str, str], Difference] = {}
    for a, b in _pairs(arranged, curves, options):
        each = area_difference(curves[a], curves[b], shared, options.level)
        if not isinstance(each, Missing):
            found[a, b] = each
    judged = verdicts(found, options.level)
    return tuple(AreaDifference(a, b, shared, verdict) for (a, b), verdict in judged.items())


def _pairs(
    arranged: SeriesTable, curves: Mapping[str, Curve], options: ReportOptions
) -> list[tuple[str, str]]:
    """All pairs of a few curves; of many, each with that of the reference or else the first."""
    if len(curves) <= _MOST_PAIRED:
        return list(combinations(curves, 2))
    methods = {
        name: runs[0].run.method
        for there in arranged.members.values()
        for name, runs in there.items()
    }
    ours = [each for each in curves if options.reference in (each, methods[each])]
    reference = (ours or list(curves))[0]
    return [(name, reference) for name in curves if name != reference]
