"""Findings from evidence: all that reports show, put together."""

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
from .sections.ablations import ablations
from .sections.commands import command_of, commands_of
from .sections.curves import curve_findings, left_out
from .sections.disagreement import disagreement
from .sections.equal_cost import equal_cost
from .sections.overview import methods_in_words, overview, overview_of_group
from .sections.paired import accuracy
from .sections.provenance import provenance
from .sections.published import published
from .series import SeriesTable, arrange
from .statistics import pareto_front


def findings(evidence: LoadedRuns, options: ReportOptions | None = None) -> Findings:
    """Work out what the runs of a store say.

    Raises KeeprateError, before anything is compared, for a reference that no run has and for a
    budget or a level that is none.
    """
    options = options or ReportOptions()
    if not 0 < options.level < 1:
        raise KeeprateError(f"Level {options.level} must lie between 0 and 1: give 0.95.")
    arranged = [arrange(group, options.budgets) for group in evidence.groups]
    _check_reference(evidence, arranged, options)
    pairs = list(zip(evidence.groups, arranged, strict=True))
    groups = tuple(_group(group, there, options) for group, there in pairs)
    disputed, unread = _disagreements(evidence.store, pairs)
    groups = tuple(
        replace(group, disagreement=found) for group, found in zip(groups, disputed, strict=True)
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
    """What each group's runs disagree on, and a line for each thing that could not be read."""
    if store is None:
        return [None] * len(pairs), []
    index, problems = read_index(store.folder / FOLDER)
    found: list[Disagreement | None] = []
    for group, arranged in pairs:
        try:
            found.append(disagreement(store, group, arranged, index))
        except KeeprateError as error:
            found.append(None)
            problems.append(str(error))
    return found, problems


def _check_reference(
    evidence: LoadedRuns, arranged: list[SeriesTable], options: ReportOptions
) -> None:
    if options.reference is None:
        return
    known = {each.run.method for group in evidence.groups for each in group.runs}
    known |= {name for there in arranged for name in there.series}
    if options.reference not in known:
        names = ", ".join(sorted(known)[:20])
        raise KeeprateError(f"No method or series '{options.reference}' here: there are {names}.")


def _group(group: RunGroup, arranged: SeriesTable, options: ReportOptions) -> GroupFindings:
    run = group.runs[0].run
    first = (group.unpruned or group.runs[0]).run
    points = _points(group, arranged, options.level)
    curves, areas = curve_findings(arranged, options)
    measured = group.runs[0].result.measured
    chosen = group.unpruned.id if group.unpruned else None
    found = GroupFindings(
        title=group.title,
        overview=(),
        model=first.backbone.name,
        model_class=run.backbone.cls,
        num_parameters=run.backbone.num_parameters,
        weights=first.backbone.weights,
        weights_sha256=run.backbone.weights_sha256,
        image_size=run.backbone.image_size,
        data=f"{run.data.name} {text_of({**run.data.places, **run.data.parameters})}".rstrip(),
        samples=run.backbone.samples,
        images=measured.images,
        precision=run.precision,
        unpruned_macs=measured.macs.unpruned,
        unpruned=next((point for point in points if point.run_id == chosen), None),
        points=points,
        published=published(first.backbone.name),
        equal_cost=equal_cost(arranged, options),
        curves=curves,
        area_differences=areas,
        ablations=ablations(arranged, options),
        skipped=tuple(SkippedSample(*each) for each in sorted(run.data.skipped.items())),
        provenance=tuple(provenance(each) for each in group.runs),
        commands=commands_of(group.runs),
        curves_left_out=left_out(arranged, options),
    )
    return replace(found, overview=overview_of_group(found))


def _points(group: RunGroup, arranged: SeriesTable, level: float) -> tuple[Point, ...]:
    """All runs, the cheapest first."""
    front = {group.runs[place].id for place in _front(group)}
    points = [_point(each, arranged, level, each.id in front) for each in group.runs]
    return tuple(sorted(points, key=lambda point: (point.macs, point.label, point.run_id)))


def _front(group: RunGroup) -> list[int]:
    """Places of the runs on the front; those on other images than the rest are never there."""
    alike = [n for n, each in enumerate(group.runs) if each.samples == group.samples]
    costs = [(group.runs[n].macs, float(group.runs[n].right)) for n in alike]
    return [alike[place] for place in pareto_front(costs)]


def _point(judged: ScoredRun, arranged: SeriesTable, level: float, on_front: bool) -> Point:
    run, measured = judged.run, judged.result.measured
    at, speed = arranged.level_of.get(judged.id), measured.throughput
    return Point(
        run_id=judged.id,
        label=judged.label,
        series=arranged.series_of.get(judged.id, judged.label),
        method=run.method,
        parameters=text_of(run.parameters),
        asked=run.budget or run.schedule,
        level=at.text if at else "",
        seed=run.seed,
        reduces=run.reduces,
        macs=judged.macs,
        share_percent=100 * judged.macs / measured.macs.unpruned,
        accuracy=accuracy([judged], level),
        agreement_percent=100 * measured.agreement,
        kl_nats=measured.kl,
        tokens=measured.tokens,
        images_per_second=speed.images_per_second if speed else None,
        throughput_ratio=speed.ratio if speed else None,
        on_front=on_front,
    )


def _failures(evidence: LoadedRuns) -> tuple[FailedRun, ...]:
    labels = labels_of([each.run for each in evidence.failures])
    return tuple(
        FailedRun(
            run_id=each.id,
            label=labels[each.id],
            error=each.error,
            started=each.environment.started,
            command=command_of(each.run, each.environment),
        )
        for each in evidence.failures
    )
