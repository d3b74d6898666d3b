"""Compute the findings, which hold all that reports show, from the runs of a store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

from ..errors import KeeprateError
from ..results.labels import labels_of
from ..results.picture_index import FOLDER, PictureIndex, read_index
from ..results.records import RunInfo
from ..results.store import Store
from .disagreement import Disagreement
from .model import Findings, GroupFindings, ReportOptions
from .other_models import OtherModel
from .places import places_of
from .points import group_points, points_of
from .printable_findings import printable_content
from .provenance import FailedRun, SkippedSample
from .runs import LoadedRuns, RunGroup, gather
from .sections import TABLE_SECTIONS
from .sections.ablations import ablations
from .sections.alike import alike
from .sections.commands import command_of, commands_of
from .sections.curves import curve_findings, left_out
from .sections.disagreement import disagreement
from .sections.equal_cost import equal_cost
from .sections.overview import methods_in_words, overview, overview_of_group
from .sections.provenance import provenance
from .sections.published import published
from .sections.smaller_models import smaller_models
from .series import SeriesTable
from .shown_runs import arranged

_COMPARISONS: Final = (
    *("published", "equal_cost", "curves", "area_differences"),
    *("ablations", "skipped", "provenance", "commands"),
)


def findings_of(store: Store, options: ReportOptions | None = None) -> Findings:
    """Compute what the runs of a store say; raises KeeprateError as `gather` and `findings` do.

    Runs of one group have the same weights, samples, transform and precision. Runs that failed,
    cannot be read or cannot be compared are named in the problems.
    """
    options = options or ReportOptions()
    return findings(gather(store, options.metric), options)


def findings(evidence: LoadedRuns, options: ReportOptions) -> Findings:
    """Compute what runs say that are gathered already.

    Raises KeeprateError, before anything is compared, for a reference that no run has, a budget
    that cannot be read, and a level that is not between 0 and 1.
    """
    if not 0 < options.level < 1:
        raise KeeprateError(f"Level {options.level} must lie between 0 and 1: give 0.95.")
    store = evidence.store
    pairs = arranged(evidence.groups, options.budgets, options.shown)
    _check_reference(pairs, options)
    index, unread_index = read_index(store.folder / FOLDER)
    shown = [group for group, _ in pairs]
    groups = tuple(
        _group(group, table, options, index, smaller_models(group, shown, options.level))
        for group, table in pairs
    )
    disagreements, unread = _disagreements(store, pairs, index)
    groups = tuple(
        replace(group, disagreement=finding)
        for group, finding in zip(groups, disagreements, strict=True)
    )
    failures, problems = _failures(evidence), (*evidence.problems, *unread_index, *unread)
    found = Findings(
        options=options,
        overview=overview(groups, failures, problems, options),
        methods=methods_in_words(options),
        groups=groups,
        failures=failures,
        problems=problems,
        places=places_of(_described(evidence)),
    )
    return printable_content(found)


def points_alone(evidence: LoadedRuns, options: ReportOptions) -> Findings:
    """Return findings with the points of the runs and nothing else, which a figure needs."""
    nothing: dict[str, Any] = dict.fromkeys(_COMPARISONS, ())
    groups = tuple(
        GroupFindings(**vars(group), **nothing) for group in points_of(evidence, options)
    )
    places = places_of(_described(evidence))
    found = Findings(options, (), (), groups, (), evidence.problems, places)
    return printable_content(found)


def _described(evidence: LoadedRuns) -> Iterator[RunInfo]:
    yield from (scored_run.run for group in evidence.groups for scored_run in group.runs)
    yield from (failure.run for failure in evidence.failures)


def _disagreements(
    store: Store, pairs: Sequence[tuple[RunGroup, SeriesTable]], index: PictureIndex
) -> tuple[list[Disagreement | None], list[str]]:
    """Return what each group's runs disagree on, and a line for each file that is unreadable."""
    disagreements: list[Disagreement | None] = []
    problems: list[str] = []
    for group, table in pairs:
        try:
            disagreements.append(disagreement(store, group, table, index))
        except KeeprateError as error:  # one unreadable file must not cost the other findings
            disagreements.append(None)
            problems.append(str(error))
    return disagreements, problems


def _check_reference(pairs: Sequence[tuple[RunGroup, SeriesTable]], options: ReportOptions) -> None:
    if options.reference is None:
        return
    names = {scored_run.run.method for group, _ in pairs for scored_run in group.runs}
    names |= {name for _, table in pairs for name in table.series}
    if options.reference not in names:
        listing = ", ".join(sorted(names)[:20])
        raise KeeprateError(f"No method or series '{options.reference}' here: there are {listing}.")


def _group(
    group: RunGroup,
    series_table: SeriesTable,
    options: ReportOptions,
    index: PictureIndex,
    others: tuple[OtherModel, ...],
) -> GroupFindings:
    shared = group_points(group, series_table, options)
    curves, areas = curve_findings(series_table, options)
    findings_of_group = GroupFindings(
        **vars(shared),
        published=published(shared.model),
        equal_cost=equal_cost(series_table, options),
        curves=curves,
        area_differences=areas,
        ablations=tuple(
            replace(ablation, method=options.shown.label(ablation.method))
            for ablation in ablations(series_table, options)
        ),
        skipped=tuple(
            SkippedSample(*item) for item in sorted(group.runs[0].run.data.skipped.items())
        ),
        provenance=tuple(provenance(scored_run) for scored_run in group.runs),
        commands=commands_of(group.runs),
        curves_left_out=left_out(series_table, options),
        alike=alike(index, group),
        others=others,
    )
    # made from the other findings of the group
    tables = tuple(filter(None, (section(findings_of_group) for section in TABLE_SECTIONS)))
    return replace(
        findings_of_group,
        overview=overview_of_group(findings_of_group, options),
        tables=tables,
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
