"""Arrange the runs that reports and figures show, under the names that were asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import KeeprateError, unknown_name
from .runs import RunGroup, ScoredRun
from .series import SeriesTable, arrange
from .shown_series import ShownSeries


def arranged(
    groups: Sequence[RunGroup], budgets: Sequence[str], shown: ShownSeries
) -> list[tuple[RunGroup, SeriesTable]]:
    """Return the shown groups with their shown series, which have their labels.

    Series get their names before any is left out, so that a name does not depend on the choice.
    Raises KeeprateError for a series that no group has, if two would have one label, and if nothing
    is left.
    """
    chosen = [
        group
        for group in groups
        if not shown.models or {run.run.backbone.name for run in group.runs} & set(shown.models)
    ]
    pairs = [(group, arrange(group, budgets)) for group in chosen]
    names = {name for _, table in pairs for name in table.series}
    methods = {run.run.method for group in groups for run in group.runs}
    for name in shown.names:
        if name not in names | methods | set(shown.labels.values()):
            raise unknown_name("series", name, names)
    _refuse_namesakes(shown, names)
    kept = [_shown(group, table, shown) for group, table in pairs]
    left = [(group, table) for group, table in kept if group.runs]
    if groups and not left:
        raise KeeprateError("No run is both of the chosen models and of the chosen methods.")
    return left


def _refuse_namesakes(shown: ShownSeries, names: Iterable[str]) -> None:
    taken: dict[str, str] = {}
    for name in sorted(name for name in names if shown.shows(name)):
        other = taken.setdefault(shown.label(name), name)
        if other != name:
            raise KeeprateError(
                f"'{other}' and '{name}' would both be '{shown.label(name)}': give each a label."
            )


def _shown(group: RunGroup, table: SeriesTable, shown: ShownSeries) -> tuple[RunGroup, SeriesTable]:
    """Leave out the series that are not shown, and give the others their labels."""
    if not (shown.methods or shown.labels):
        return group, table
    series_of = {run_id: name for run_id, name in table.series_of.items() if shown.shows(name)}
    left_out = table.series_of.keys() - series_of.keys()
    by_id = {
        run.id: replace(run, label=_label(run, table, shown))
        for run in group.runs
        if run.id not in left_out
    }
    members = {
        level: {
            shown.label(name): tuple(by_id[run.id] for run in member)
            for name, member in table.members[level].items()
            if shown.shows(name)
        }
        for level in table.levels
    }
    unpruned = by_id[group.unpruned.id] if group.unpruned else None
    narrowed = replace(
        table,
        levels=tuple(level for level in table.levels if members[level]),
        members=members,
        series_of={run_id: shown.label(name) for run_id, name in series_of.items()},
        unpruned=unpruned,
    )
    return replace(group, runs=tuple(by_id.values()), unpruned=unpruned), narrowed


def _label(run: ScoredRun, table: SeriesTable, shown: ShownSeries) -> str:
    series = table.series_of.get(run.id, run.label)
    # the label of a run has its seed as well, behind what its series has
    if series in shown.labels and run.label.startswith(series):
        return shown.labels[series] + run.label.removeprefix(series)
    return shown.label(run.label)
