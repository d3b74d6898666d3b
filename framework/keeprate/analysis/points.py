"""Compute the points of a group: every run with its figures, and its difference to the unpruned."""

from __future__ import annotations

from collections.abc import Iterable

from ..results.labels import text_of
from ..results.measured import Throughput
from .model import GroupPoints, Interval, Point, ReportOptions
from .runs import LoadedRuns, RunGroup, ScoredRun
from .sections.paired import all_metrics, compared, scaled, score
from .series import SeriesTable
from .shown_runs import arranged
from .statistics import median_interval, pareto_front


def points_of(evidence: LoadedRuns, options: ReportOptions) -> tuple[GroupPoints, ...]:
    """Return the points of every group, which is all that a table of runs needs."""
    pairs = arranged(evidence.groups, options.budgets, options.shown)
    return tuple(group_points(group, table, options) for group, table in pairs)


def group_points(group: RunGroup, series_table: SeriesTable, options: ReportOptions) -> GroupPoints:
    """Return all runs of the group, the cheapest first, with what they have in common."""
    run = group.runs[0].run
    results = [scored_run.result for scored_run in group.runs]
    # runs with the same weights may name the model differently: the unpruned run's name counts
    first = group.unpruned or group.runs[0]
    points = _points(group, series_table, options)
    unpruned_id = group.unpruned.id if group.unpruned else None
    speeds = [result.measured.throughput for result in results if result.measured.throughput]
    return GroupPoints(
        title=group.title,
        model=first.run.backbone.name,
        model_class=run.backbone.cls,
        num_parameters=run.backbone.num_parameters,
        weights=str(first.run.backbone.weights),
        weights_sha256=run.backbone.weights_sha256,
        image_size=run.backbone.image_size,
        data=f"{run.data.name} {text_of(run.data.values)}".rstrip(),
        samples=run.backbone.samples,
        images=first.count,
        precision=run.precision,
        devices=_distinct(result.environment.device for result in results),
        throughputs=_distinct(
            f"{speed.device}, {speed.precision}, batch size {speed.batch_size}" for speed in speeds
        ),
        unpruned_macs=results[0].measured.macs.unpruned,
        unpruned=next((point for point in points if point.run_id == unpruned_id), None),
        points=points,
        metric=group.metric,
        metrics=group.metrics,
    )


def _distinct(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))


def _points(
    group: RunGroup, series_table: SeriesTable, options: ReportOptions
) -> tuple[Point, ...]:
    front = {group.runs[position].id for position in _front(group, options.axis)}
    points = [_point(run, series_table, options.level, run.id in front) for run in group.runs]
    return tuple(sorted(points, key=lambda point: (point.macs, point.label, point.run_id)))


def _front(group: RunGroup, axis: str) -> list[int]:
    """Return the positions of the runs on the front; a run on other images is never on it."""
    costs = [_cost(scored_run, axis) for scored_run in group.runs]
    comparable = [
        n
        for n, scored_run in enumerate(group.runs)
        if scored_run.samples == group.samples and costs[n] is not None
    ]
    costs_and_scores = [(costs[n] or 0.0, group.runs[n].goodness) for n in comparable]
    return [comparable[position] for position in pareto_front(costs_and_scores)]


def _cost(scored_run: ScoredRun, axis: str) -> float | None:
    if axis == "macs":
        return scored_run.macs
    speed = scored_run.result.measured.throughput
    return -speed.images_per_second if speed else None


def _point(scored_run: ScoredRun, series_table: SeriesTable, level: float, on_front: bool) -> Point:
    run, measured = scored_run.run, scored_run.result.measured
    level_of_run, speed = series_table.level_of.get(scored_run.id), measured.throughput
    difference, p_value = _against(series_table.unpruned, scored_run, level)
    return Point(
        run_id=scored_run.id,
        label=scored_run.label,
        series=series_table.series_of.get(scored_run.id, scored_run.label),
        method=run.method,
        parameters=text_of(run.parameters),
        asked=run.budget or run.schedule,
        budget=run.budget or "",
        schedule=run.schedule,
        level=level_of_run.text if level_of_run else "",
        seed=run.seed,
        reduces=run.reduces,
        images=measured.images,
        macs=scored_run.macs,
        macs_model=measured.macs.model,
        macs_overhead=measured.macs.overhead,
        share_percent=100 * scored_run.macs / measured.macs.unpruned,
        score=score([scored_run], level),
        difference=difference,
        p_value=p_value,
        metrics=all_metrics([scored_run]),
        tokens=measured.tokens,
        images_per_second=speed.images_per_second if speed else None,
        throughput_ratio=speed.ratio if speed else None,
        on_front=on_front,
        throughput_interval=_interval(speed, level) if speed else None,
        spread=scored_run.spread,
    )


def _interval(speed: Throughput, level: float) -> Interval | None:
    ends = median_interval(speed.ratios, level)
    return Interval(speed.ratio, *ends) if ends else None


def _against(
    unpruned: ScoredRun | None, scored_run: ScoredRun, level: float
) -> tuple[Interval | None, float | None]:
    """Return the difference to the unpruned run in the unit shown, and its p-value."""
    if unpruned is None or scored_run is unpruned or scored_run.samples != unpruned.samples:
        return None, None
    difference = compared([scored_run], [unpruned], level)
    return scaled(difference, scored_run.metric), difference.p_value
