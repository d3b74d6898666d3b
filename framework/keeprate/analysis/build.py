"""Compute the findings, which hold all that reports show, from the runs of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import KeeprateError
from ..results.labels import labels_of, text_of
from ..results.picture_index import FOLDER, read_index
from ..results.store import Store
from .disagreement import Disagreement
from .model import (
    Findings,
    GroupFindings,
    Point,
    ReportOptions,
)
from .provenance import FailedRun, SkippedSample
from .runs import LoadedRuns, RunGroup, ScoredRun
from .sections import TABLE_SECTIONS
from .sections.ablations import ablations
from .sections.commands import command_of, commands_of
from .sections.curves import curve_findings, left_out
from .sections.disagreement import disagreement
from .sections.equal_cost import equal_cost
from .sections.overview import methods_in_words, overview, overview_of_group
from .sections.paired import all_metrics, score
from .sections.provenance import provenance
from .sections.published import published
from .series import SeriesTable, arrange
from .statistics import pareto_front


def findings(evidence: LoadedRuns, options: ReportOptions | None = None) -> Findings:
    """Compute what the runs of a store say.

    Raises KeeprateError, before anything is compared, for a reference that no run has, a budget
    that cannot be read, and a level that is not between 0 and 1.
    """
    options = options or ReportOptions()
    if not 0 < options.level < 1:
        raise KeeprateError(f"Level {options.level} must lie between 0 and 1: give 0.95.")
    series_tables = [arrange(group, options.budgets) for group in evidence.groups]
    _check_reference(evidence, series_tables, options)
    pairs = list(zip(evidence.groups, series_tables, strict=True))
    groups = tuple(_group(group, table, options) for group, table in pairs)
    disagreements, unread = _disagreements(evidence.store, pairs)
    groups = tuple(
        replace(group, disagreement=finding)
        for group, finding in zip(groups, disagreements, strict=True)
    )
    failures, problems = _failures(evidence), (*evidence.problems, *unread)
    return Findings(
        options=options,
        overview=overview(groups, failures, problems),
        methods=methods_in_words(options),
        groups=groups,
        failures=failures,
        problems=problems,
    )


def _disagreements(
    store: Store | None, pairs: Sequence[tuple[RunGroup, SeriesTable]]
) -> tuple[list[Disagreement | None], list[str]]:
    """Return what each group's runs disagree on, and a line for each file that is unreadable."""
    if store is None:
        return [None] * len(pairs), []
    index, problems = read_index(store.folder / FOLDER)
    disagreements: list[Disagreement | None] = []
    for group, table in pairs:
        try:
            disagreements.append(disagreement(store, group, table, index))
        except KeeprateError as error:  # one unreadable file must not cost the other findings
            disagreements.append(None)
            problems.append(str(error))
    return disagreements, problems


def _check_reference(
    evidence: LoadedRuns, series_tables: list[SeriesTable], options: ReportOptions
) -> None:
    if options.reference is None:
        return
    names = {scored_run.run.method for group in evidence.groups for scored_run in group.runs}
    names |= {name for table in series_tables for name in table.series}
    if options.reference not in names:
        listing = ", ".join(sorted(names)[:20])
        raise KeeprateError(f"No method or series '{options.reference}' here: there are {listing}.")


def _group(group: RunGroup, series_table: SeriesTable, options: ReportOptions) -> GroupFindings:
    run = group.runs[0].run
    # runs with the same weights may name the model differently: the unpruned run's name counts
    first = (group.unpruned or group.runs[0]).run
    points = _points(group, series_table, options.level)
    curves, areas = curve_findings(series_table, options)
    measured = group.runs[0].result.measured
    unpruned_id = group.unpruned.id if group.unpruned else None
    findings_of_group = GroupFindings(
        title=group.title,
        overview=(),
        model=first.backbone.name,
        model_class=run.backbone.cls,
        num_parameters=run.backbone.num_parameters,
        weights=str(first.backbone.weights),
        weights_sha256=run.backbone.weights_sha256,
        image_size=run.backbone.image_size,
        data=f"{run.data.name} {text_of({**run.data.places, **run.data.parameters})}".rstrip(),
        samples=run.backbone.samples,
        images=(group.unpruned or group.runs[0]).count,
        precision=run.precision,
        unpruned_macs=measured.macs.unpruned,
        unpruned=next((point for point in points if point.run_id == unpruned_id), None),
        points=points,
        published=published(first.backbone.name),
        equal_cost=equal_cost(series_table, options),
        curves=curves,
        area_differences=areas,
        ablations=ablations(series_table, options),
        skipped=tuple(SkippedSample(*item) for item in sorted(run.data.skipped.items())),
        provenance=tuple(provenance(scored_run) for scored_run in group.runs),
        commands=commands_of(group.runs),
        metric=group.metric,
        metrics=group.metrics,
        curves_left_out=left_out(series_table, options),
    )
    return _completed(findings_of_group)


def _completed(group: GroupFindings) -> GroupFindings:
    """Add the overview and the tables, which are made from the other findings of the group."""
    tables = tuple(filter(None, (section(group) for section in TABLE_SECTIONS)))
    return replace(group, overview=overview_of_group(group), tables=tables)


def _points(group: RunGroup, series_table: SeriesTable, level: float) -> tuple[Point, ...]:
    """Return all runs of the group, the cheapest first."""
    front = {group.runs[position].id for position in _front(group)}
    points = [
        _point(scored_run, series_table, level, scored_run.id in front) for scored_run in group.runs
    ]
    return tuple(sorted(points, key=lambda point: (point.macs, point.label, point.run_id)))


def _front(group: RunGroup) -> list[int]:
    """Return the positions of the runs on the front; a run on other images is never on it."""
    comparable = [
        n for n, scored_run in enumerate(group.runs) if scored_run.samples == group.samples
    ]
    costs = [(group.runs[n].macs, group.runs[n].goodness) for n in comparable]
    return [comparable[position] for position in pareto_front(costs)]


def _point(scored_run: ScoredRun, series_table: SeriesTable, level: float, on_front: bool) -> Point:
    run, measured = scored_run.run, scored_run.result.measured
    level_of_run, speed = series_table.level_of.get(scored_run.id), measured.throughput
    return Point(
        run_id=scored_run.id,
        label=scored_run.label,
        series=series_table.series_of.get(scored_run.id, scored_run.label),
        method=run.method,
        parameters=text_of(run.parameters),
        asked=run.budget or run.schedule,
        level=level_of_run.text if level_of_run else "",
        seed=run.seed,
        reduces=run.reduces,
        macs=scored_run.macs,
        share_percent=100 * scored_run.macs / measured.macs.unpruned,
        score=score([scored_run], level),
        metrics=all_metrics([scored_run]),
        tokens=measured.tokens,
        images_per_second=speed.images_per_second if speed else None,
        throughput_ratio=speed.ratio if speed else None,
        on_front=on_front,
    )


def _failures(evidence: LoadedRuns) -> tuple[FailedRun, ...]:
    labels = labels_of([failure.run for failure in evidence.failures])
    return tuple(
        FailedRun(
            run_id=failure.id,
            label=labels[failure.id],
            error=failure.error,
            started=failure.environment.started,
            command=command_of(failure.run, failure.environment),
        )
        for failure in evidence.failures
    )
