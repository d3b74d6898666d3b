"""Findings and changes as tables of texts; reports and the command line lay out the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from .changes import ChangedRun, Changes, NamedRun
from .metrics import MetricInfo
from .model import (
    Ablation,
    AreaDifference,
    CurveFinding,
    EqualCost,
    GroupFindings,
    Interval,
    PairedDifference,
    SeriesAtCost,
)
from .run_table import (
    Column,
    FindingsTable,
    column,
    difference_text,
    figure_of,
    filled,
    p_text,
    unit_of,
)
from .sections.overview import cheaper_in_words, names_in_words

Row = TypeVar("Row")

MOST_ABLATIONS: Final = 40
"""Most ablations of a group in a text for people; files for programs hold all of them."""


def tables_of(group: GroupFindings, level: float) -> list[FindingsTable]:
    """Return all tables of a group for people to read, with at most `MOST_ABLATIONS` ablations."""
    tables = [equal_cost_table(group, table, level) for table in group.equal_cost if table.rivals]
    tables += filter(None, [curve_table(group, level), area_table(group, level)])
    tables += [
        ablation_table(group, ablation, level) for ablation in group.ablations[:MOST_ABLATIONS]
    ]
    return tables + list(group.tables)


def notes_of(group: GroupFindings) -> tuple[str, ...]:
    """Return sentences on what `tables_of` leaves out of a group; none if it leaves out nothing."""
    number = len(group.ablations)
    if number <= MOST_ABLATIONS:
        return ()
    return (
        f"Of {number:,} ablations the first {MOST_ABLATIONS} are laid out; the comparisons as CSV "
        "and the findings as JSON hold all.",
    )


def equal_cost_table(group: GroupFindings, table: EqualCost, level: float) -> FindingsTable:
    """Return the table of the series at one budget, the most accurate first."""
    unit, rivals, metric = unit_of(group), table.rivals, group.metric
    columns = (
        column("Series", rivals, lambda rival: rival.series, figures=False, rank=0),
        column(unit.name, rivals, lambda rival: f"{rival.macs / unit.size:.3f}", rank=0),
        column(metric.title, rivals, lambda rival: shown(rival.score, metric), rank=0),
        column(f"vs {table.reference}", rivals, lambda rival: _points(rival.verdict, metric)),
        column("p (Holm)", rivals, lambda rival: _p_value(rival.verdict), rank=2),
        column(
            "vs unpruned", rivals, lambda rival: _points(rival.against_unpruned, metric), rank=5
        ),
        *(column(m.title, rivals, figure_of(m), rank=6) for m in _beside(group)),
        column("Seeds", rivals, lambda rival: str(len(rival.seeds)), rank=7),
        column("Verdict", rivals if rivals[1:] else [], _verdict, figures=False, rank=3),
    )
    marked = tuple(position for position, rival in enumerate(rivals) if rival.level_with_best)
    caption = _equal_cost_caption(group, table, level)
    return FindingsTable(f"At {table.budget}", caption, filled(columns), marked)


def _equal_cost_caption(group: GroupFindings, table: EqualCost, level: float) -> str:
    unit, rivals = unit_of(group), table.rivals
    percent = f"{100 * level:g} %"
    caption = (
        f"Series at {table.budget} ({table.macs / unit.size:.3f} {unit.name}) with {group.model} "
        f"on n = {group.images:,} {group.samples} of {group.data}, with {percent} intervals."
    )
    # the reference has no verdict; every other row knows the size of the family
    family = next((rival.verdict.family for rival in rivals if rival.verdict), 0)
    if family:
        caption += (
            f" Differences in {group.metric.in_sentence} to {table.reference}"
            f"{_in_unit(group.metric)} are paired on the same "
            f"{group.samples}; p-values are Holm's over {family} "
            f"comparison{'' if family == 1 else 's'}. Marked: the best and what is not "
            "distinguishable from it."
        )
    if cheaper := cheaper_in_words(table):
        caption += f" {cheaper}"
    if table.absent:
        caption += f" Not run at this cost: {names_in_words(table.absent)}."
    return caption


def ablation_table(group: GroupFindings, ablation: Ablation, level: float) -> FindingsTable:
    """Return the values of one factor, the best first; one that beats all is marked."""
    settings, metric = ablation.settings, group.metric
    family = next((setting.verdict.family for setting in settings if setting.verdict), 0)
    with_fixed = f", with {ablation.fixed}" if ablation.fixed else ""
    caption = (
        f"{ablation.method} at {ablation.budget}: {ablation.factor} alone differs{with_fixed}. "
        f"Differences in {metric.in_sentence} to the first line{_in_unit(metric)} with "
        f"{100 * level:g} % intervals; "
        f"p-values are Holm's over {family} comparisons of this factor. Marked where one value is "
        "distinguishably better than every other."
    )
    columns = (
        column(ablation.factor, settings, lambda setting: setting.value, figures=False, rank=0),
        column(metric.title, settings, lambda setting: shown(setting.score, metric), rank=0),
        column("vs first", settings, lambda setting: _points(setting.verdict, metric)),
        column("p (Holm)", settings, lambda setting: _p_value(setting.verdict), rank=2),
        *(column(m.title, settings, figure_of(m), rank=5) for m in _beside(group)),
    )
    marked = tuple(
        position for position, setting in enumerate(settings) if setting.value == ablation.winner
    )
    title = f"{ablation.method}: {ablation.factor} at {ablation.budget}"
    return FindingsTable(title, caption, filled(columns), marked)


def curve_table(group: GroupFindings, level: float) -> FindingsTable | None:
    """Return each curve's score at the budgets and its mean; None if there are no curves."""
    curves, metric = group.curves, group.metric
    if not curves:
        return None
    budgets = [(position, reading.budget) for position, reading in enumerate(curves[0].readings)]
    columns = [
        column("Series", curves, lambda curve: curve.series, figures=False, rank=0),
        column(
            ", ".join(filter(None, ["Mean over costs", metric.unit])), curves, _area(metric), rank=0
        ),
    ]
    for position, budget in budgets:
        columns.append(
            column(
                f"{metric.unit or metric.heading} at {budget}",
                curves,
                _score_at(position, metric),
                rank=1 + position,
            )
        )
    caption = (
        f"{metric.axis} by straight lines between the costs that were run, with "
        f"{100 * level:g} % intervals over n = {group.images:,} {group.samples}; a dash "
        "where a series was not run at costs to both sides."
    )
    if group.curves_left_out:
        caption += (
            f" Left out: {len(group.curves_left_out):,} series; the overview says how to see one."
        )
    return FindingsTable("Curves", caption, filled(columns))


def area_table(group: GroupFindings, level: float) -> FindingsTable | None:
    """Return how the mean scores of curves differ; None if no curves were compared."""
    areas = group.area_differences
    if not areas:
        return None
    unit = unit_of(group)
    low, high = (macs / unit.size for macs in areas[0].macs)
    caption = (
        f"Differences in mean {group.metric.in_sentence} from {low:.3f} to {high:.3f} {unit.name}"
        f"{_in_unit(group.metric)} with "
        f"{100 * level:g} % intervals; p-values are Holm's over {areas[0].verdict.family}."
    )
    columns: tuple[Column, ...] = (
        column("Series", areas, lambda area: area.series, figures=False, rank=0),
        column("against", areas, lambda area: area.against, figures=False, rank=0),
        column("Difference", areas, lambda area: _points(area.verdict, group.metric)),
        column("p (Holm)", areas, lambda area: _p_value(area.verdict), rank=2),
        column("Verdict", areas, _area_verdict, figures=False, rank=3),
    )
    return FindingsTable("Differences between curves", caption, filled(columns))


def changes_tables(changes: Changes) -> list[FindingsTable]:
    """Return one table for each kind of change that occurs."""
    kinds = (
        (f"Only in {changes.before}", _run_columns(changes.only_before)),
        (f"Only in {changes.after}", _run_columns(changes.only_after)),
        ("The same run with other rows", _change_columns(changes, changes.other_rows)),
        ("Asked for alike, but another run", _change_columns(changes, changes.other_identity)),
    )
    return [FindingsTable(title, "", columns) for title, columns in kinds if columns[0].texts]


def shown(interval: Interval, metric: MetricInfo) -> str:
    """Return a figure with its interval, as text."""
    value, low, high = (metric.text(end) for end in (interval.value, interval.low, interval.high))
    return f"{value} [{low}, {high}]"


def _run_columns(runs: Sequence[NamedRun]) -> tuple[Column, ...]:
    return (
        column("Run", runs, lambda run: run.run_id, figures=False, rank=0),
        column("Method", runs, lambda run: run.label, figures=False),
        column("Budget or schedule", runs, lambda run: run.asked or "-", figures=False),
        column("Model", runs, lambda run: run.model, figures=False, rank=2),
        column("Data", runs, lambda run: run.data, figures=False, rank=3),
    )


def _change_columns(changes: Changes, runs: Sequence[ChangedRun]) -> tuple[Column, ...]:
    return (
        column("Before", runs, lambda changed: changed.before.run_id, figures=False, rank=0),
        column("After", runs, lambda changed: changed.after.run_id, figures=False, rank=0),
        column("Method", runs, lambda changed: changed.after.label, figures=False),
        column("What differs", runs, lambda changed: ", ".join(changed.reasons), figures=False),
        column(
            "Difference", runs, lambda changed: _points(changed.difference, changes.metric), rank=3
        ),
        column("Verdict", runs, _change_verdict, figures=False, rank=2),
    )


def _change_verdict(changed: ChangedRun) -> str:
    return changed.difference.text if changed.difference else "not on the same images"


def _area_verdict(area: AreaDifference) -> str:
    return area.verdict.text


def _verdict(rival: SeriesAtCost) -> str:
    return rival.verdict.text if rival.verdict else "reference"


def _area(metric: MetricInfo) -> Callable[[CurveFinding], str]:
    return lambda curve: shown(curve.area, metric) if curve.area else "-"


def _score_at(position: int, metric: MetricInfo) -> Callable[[CurveFinding], str]:
    def text(curve: CurveFinding) -> str:
        score = curve.readings[position].score
        return shown(score, metric) if score else "-"

    return text


def _beside(group: GroupFindings) -> list[MetricInfo]:
    """Return the metrics that tables show beside the one that runs are compared by."""
    return [m for m in group.metrics if m.in_brief and m.name != group.metric.name]


def _in_unit(metric: MetricInfo) -> str:
    return f", in {metric.difference_unit}," if metric.difference_unit else ""


def _points(verdict: PairedDifference | None, metric: MetricInfo) -> str:
    if verdict is None:
        return ""
    return difference_text(verdict.difference, metric, "*" if verdict.distinguishable else "")


def _p_value(verdict: PairedDifference | None) -> str:
    return p_text(verdict.adjusted_p_value if verdict else None)
