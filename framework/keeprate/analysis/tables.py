"""Findings and changes as tables of texts, for reports and the command line to lay out alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from .changes import ChangedRun, Changes, NamedRun
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
from .run_table import Column, Unit
from .sections.overview import names_in_words

Row = TypeVar("Row")

MOST_ABLATIONS: Final = 40
"""Ablations of a group that are laid out for people; files for programs hold them all."""

_UNITS: Final = (Unit("GMACs", 1e9), Unit("MMACs", 1e6), Unit("kMACs", 1e3))


@dataclass(frozen=True)
class FindingsTable:
    """A title, what it holds in a sentence, its columns, and the places of rows to set off.

    `marked` are the rows that are best and those not distinguishable from the best.
    """

    title: str
    caption: str
    columns: tuple[Column, ...]
    marked: tuple[int, ...] = ()


def unit_of(group: GroupFindings) -> Unit:
    """The unit that gives the group's largest cost digits before the decimal point, or nearly."""
    largest = max(point.macs for point in group.points)
    return next((unit for unit in _UNITS if largest >= 0.2 * unit.size), _UNITS[-1])


def tables_of(group: GroupFindings, level: float) -> list[FindingsTable]:
    """All tables of a group for people to read: of many ablations the first `MOST_ABLATIONS`."""
    tables = [equal_cost_table(group, each, level) for each in group.equal_cost if each.rivals]
    tables += filter(None, [curve_table(group, level), area_table(group, level)])
    return tables + [ablation_table(each, level) for each in group.ablations[:MOST_ABLATIONS]]


def notes_of(group: GroupFindings) -> tuple[str, ...]:
    """Sentences on what `tables_of` leaves out of a group; none where it is all."""
    number = len(group.ablations)
    if number <= MOST_ABLATIONS:
        return ()
    return (
        f"Of {number:,} ablations the first {MOST_ABLATIONS} are laid out; the comparisons as CSV "
        "and the findings as JSON hold all.",
    )


def equal_cost_table(group: GroupFindings, table: EqualCost, level: float) -> FindingsTable:
    """The series at one budget, the most accurate first."""
    unit, rivals = unit_of(group), table.rivals
    columns = (
        column("Series", rivals, lambda each: each.series, figures=False, rank=0),
        column(unit.name, rivals, lambda each: f"{each.macs / unit.size:.3f}", rank=0),
        column("Top-1 %", rivals, lambda each: shown(each.accuracy), rank=0),
        column(f"vs {table.reference}", rivals, lambda each: _points(each.verdict)),
        column("p (Holm)", rivals, lambda each: _p_value(each.verdict), rank=2),
        column("vs unpruned", rivals, lambda each: _points(each.against_unpruned), rank=5),
        column("KL, nats", rivals, lambda each: f"{each.kl_nats:.4f}", rank=6),
        column("Seeds", rivals, lambda each: str(len(each.seeds)), rank=7),
        column("Verdict", rivals if rivals[1:] else [], _verdict, figures=False, rank=3),
    )
    marked = tuple(place for place, each in enumerate(rivals) if each.level_with_best)
    caption = _equal_cost_caption(group, table, level)
    return FindingsTable(f"At {table.budget}", caption, filled(columns), marked)


def _equal_cost_caption(group: GroupFindings, table: EqualCost, level: float) -> str:
    unit, rivals = unit_of(group), table.rivals
    percent = f"{100 * level:g} %"
    caption = (
        f"Series at {table.budget} ({table.macs / unit.size:.3f} {unit.name}) with {group.model} "
        f"on n = {group.images:,} {group.samples} of {group.data}, with {percent} intervals."
    )
    family = next((each.verdict.family for each in rivals if each.verdict), 0)
    if family:
        caption += (
            f" Differences in top-1 to {table.reference}, in points, are paired on the same "
            f"{group.samples}; p-values are Holm's over {family} "
            f"comparison{'' if family == 1 else 's'}. Marked: the best and what is not "
            "distinguishable from it."
        )
    if table.absent:
        caption += f" Not run at this cost: {names_in_words(table.absent)}."
    return caption


def ablation_table(ablation: Ablation, level: float) -> FindingsTable:
    """The values of one factor, the most accurate first; marked if one beats all others."""
    settings = ablation.settings
    family = next((each.verdict.family for each in settings if each.verdict), 0)
    with_fixed = f", with {ablation.fixed}" if ablation.fixed else ""
    caption = (
        f"{ablation.method} at {ablation.budget}: {ablation.factor} alone differs{with_fixed}. "
        f"Differences in top-1 to the first line, in points, with {100 * level:g} % intervals; "
        f"p-values are Holm's over {family} comparisons of this factor. Marked where one value is "
        "distinguishably better than every other."
    )
    columns = (
        column(ablation.factor, settings, lambda each: each.value, figures=False, rank=0),
        column("Top-1 %", settings, lambda each: shown(each.accuracy), rank=0),
        column("vs first", settings, lambda each: _points(each.verdict)),
        column("p (Holm)", settings, lambda each: _p_value(each.verdict), rank=2),
        column("Agreement %", settings, lambda each: f"{each.agreement_percent:.2f}", rank=5),
        column("KL, nats", settings, lambda each: f"{each.kl_nats:.4f}", rank=4),
    )
    marked = tuple(place for place, each in enumerate(settings) if each.value == ablation.winner)
    title = f"{ablation.method}: {ablation.factor} at {ablation.budget}"
    return FindingsTable(title, caption, filled(columns), marked)


def curve_table(group: GroupFindings, level: float) -> FindingsTable | None:
    """Accuracy of every curve at the budgets, and its mean over the shared costs; None without."""
    curves = group.curves
    if not curves:
        return None
    budgets = [(n, each.budget) for n, each in enumerate(curves[0].readings)]
    columns = [
        column("Series", curves, lambda each: each.series, figures=False, rank=0),
        column("Mean over costs, %", curves, _area, rank=0),
    ]
    for place, budget in budgets:
        columns.append(column(f"% at {budget}", curves, _reading(place), rank=1 + place))
    caption = (
        "Top-1 in per cent by straight lines between the costs that were run, with "
        f"{100 * level:g} % bootstrap intervals over n = {group.images:,} {group.samples}; a dash "
        "where a series was not run at costs to both sides."
    )
    if group.curves_left_out:
        caption += (
            f" Left out: {len(group.curves_left_out):,} series; the overview says how to see one."
        )
    return FindingsTable("Curves", caption, filled(columns))


def area_table(group: GroupFindings, level: float) -> FindingsTable | None:
    """How the mean accuracies of curves differ; None where none were compared."""
    areas = group.area_differences
    if not areas:
        return None
    unit = unit_of(group)
    low, high = (macs / unit.size for macs in areas[0].macs)
    caption = (
        f"Differences in mean top-1 from {low:.3f} to {high:.3f} {unit.name}, in points, with "
        f"{100 * level:g} % intervals; p-values are Holm's over {areas[0].verdict.family}."
    )
    columns: tuple[Column, ...] = (
        column("Series", areas, lambda each: each.series, figures=False, rank=0),
        column("against", areas, lambda each: each.against, figures=False, rank=0),
        column("Difference", areas, lambda each: _points(each.verdict)),
        column("p (Holm)", areas, lambda each: _p_value(each.verdict), rank=2),
        column("Verdict", areas, _area_verdict, figures=False, rank=3),
    )
    return FindingsTable("Differences between curves", caption, filled(columns))


def changes_tables(changes: Changes) -> list[FindingsTable]:
    """One table for each kind of change there is."""
    kinds = (
        (f"Only in {changes.before}", _run_columns(changes.only_before)),
        (f"Only in {changes.after}", _run_columns(changes.only_after)),
        ("The same run with other rows", _change_columns(changes.other_rows)),
        ("Asked for alike, but another run", _change_columns(changes.other_identity)),
    )
    return [FindingsTable(title, "", columns) for title, columns in kinds if columns[0].texts]


def shown(interval: Interval) -> str:
    """A figure in per cent with its interval."""
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _run_columns(runs: Sequence[NamedRun]) -> tuple[Column, ...]:
    return (
        column("Run", runs, lambda each: each.run_id, figures=False, rank=0),
        column("Method", runs, lambda each: each.label, figures=False),
        column("Budget or schedule", runs, lambda each: each.asked or "-", figures=False),
        column("Model", runs, lambda each: each.model, figures=False, rank=2),
        column("Data", runs, lambda each: each.data, figures=False, rank=3),
    )


def _change_columns(runs: Sequence[ChangedRun]) -> tuple[Column, ...]:
    return (
        column("Before", runs, lambda each: each.before.run_id, figures=False, rank=0),
        column("After", runs, lambda each: each.after.run_id, figures=False, rank=0),
        column("Method", runs, lambda each: each.after.label, figures=False),
        column("What differs", runs, lambda each: ", ".join(each.reasons), figures=False),
        column("Difference", runs, lambda each: _points(each.difference), rank=3),
        column("Verdict", runs, _change_verdict, figures=False, rank=2),
    )


def _change_verdict(changed: ChangedRun) -> str:
    return changed.difference.text if changed.difference else "not on the same images"


def _area_verdict(area: AreaDifference) -> str:
    return area.verdict.text


def _verdict(rival: SeriesAtCost) -> str:
    return rival.verdict.text if rival.verdict else "reference"


def _area(curve: CurveFinding) -> str:
    return shown(curve.area) if curve.area else "-"


def _reading(place: int) -> Callable[[CurveFinding], str]:
    def text(curve: CurveFinding) -> str:
        found = curve.readings[place].accuracy
        return shown(found) if found else "-"

    return text


def _points(verdict: PairedDifference | None) -> str:
    if verdict is None:
        return ""
    found = verdict.difference
    star = "*" if verdict.distinguishable else ""
    return f"{found.value:+.2f}{star} [{found.low:+.2f}, {found.high:+.2f}]"


def _p_value(verdict: PairedDifference | None) -> str:
    if verdict is None:
        return ""
    p_value = verdict.adjusted_p_value
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def column(
    heading: str,
    rows: Sequence[Row],
    text: Callable[[Row], str],
    figures: bool = True,
    rank: int = 1,
) -> Column:
    """A column with the `text` of each row; see `keeprate.analysis.run_table.Column`."""
    return Column(heading, tuple(text(row) for row in rows), figures, rank)


def filled(columns: Iterable[Column]) -> tuple[Column, ...]:
    """The columns in which a row has anything."""
    return tuple(each for each in columns if any(each.texts))
