"""Runs put in order for comparison: at which budget each stands, and on which curve."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..costs import TOLERANCE, gmacs, parse_budget
from ..results.labels import labels_of
from ..results.records import RunInfo
from .runs import RunGroup, ScoredRun

_OVER: Final = 1e-9
"""Share by which a mean of integers may come out above the budget."""


@dataclass(frozen=True)
class Level:
    """A budget, as it was asked for, and the multiply-accumulates per image that it allows.

    Not `asked`: a cost at which runs without a budget happen to stand.
    """

    text: str
    macs: float
    asked: bool

    def holds(self, macs: float) -> bool:
        """Whether a run of this cost uses the budget up, but for what token counts leave."""
        return (1 - TOLERANCE) * self.macs <= macs <= (1 + _OVER) * self.macs


Member = tuple[ScoredRun, ...]
"""The seeds of one series at one level, by seed."""


@dataclass(frozen=True)
class SeriesTable:
    """The comparable runs of a group that reduce tokens.

    `members` holds, by level and series, the runs there: one for each seed. `level_of` and
    `series_of` are by run id; `unpruned` is None where runs have nothing to be compared with.
    """

    levels: tuple[Level, ...]
    members: Mapping[Level, Mapping[str, Member]]
    level_of: Mapping[str, Level]
    series_of: Mapping[str, str]
    unpruned: ScoredRun | None

    @property
    def series(self) -> list[str]:
        """All series, by name."""
        return sorted(set(self.series_of.values()))


def arrange(group: RunGroup, budgets: Sequence[str]) -> SeriesTable:
    """Give every run its level, the dearest first, and its series.

    A run stands at the budget it was solved for, or whose cost it meets within the solver's
    tolerance; one with no budget nearby at its own cost. Without `budgets`, those of the runs
    count. A series is a method with those of its values in which its runs differ, the seed aside,
    and with its schedule where several would share a name. Raises KeeprateError for a budget that
    is none.
    """
    runs = [r for r in group.runs if r.run.reduces and r.samples == group.samples]
    unpruned_macs = group.runs[0].result.measured.macs.unpruned
    levels = _budgets(budgets or [r.run.budget for r in runs if r.run.budget], unpruned_macs)
    near = {r.id: _level(r, levels, unpruned_macs) for r in runs}
    level_of = {run_id: level for run_id, level in near.items() if level}
    level_of |= _own_levels([r for r in runs if r.id not in level_of])
    series_of = _series({r.id: r.run for r in runs}, level_of)
    found: dict[Level, dict[str, list[ScoredRun]]] = {level: {} for level in levels}
    for each in sorted(runs, key=lambda r: (r.run.seed, r.id)):
        there = found.setdefault(level_of[each.id], {})
        there.setdefault(series_of[each.id], []).append(each)
    ordered = sorted(found, key=lambda level: (-level.macs, level.text))
    members = {lv: {name: tuple(found[lv][name]) for name in sorted(found[lv])} for lv in ordered}
    return SeriesTable(tuple(ordered), members, level_of, series_of, group.unpruned)


def _budgets(texts: Iterable[str], unpruned_macs: int) -> list[Level]:
    """A level for every cost; budgets that allow the same are one, under the shortest spelling."""
    spellings: dict[int, set[str]] = defaultdict(set)
    for text in dict.fromkeys(texts):
        spellings[parse_budget(text).of(unpruned_macs)].add(text)
    return [
        Level(min(found, key=lambda text: (len(text), text)), macs, True)
        for macs, found in spellings.items()
    ]


def _level(judged: ScoredRun, levels: Sequence[Level], unpruned_macs: int) -> Level | None:
    """The level a run was solved for, or the nearest whose cost it meets."""
    if judged.run.budget:
        asked = parse_budget(judged.run.budget).of(unpruned_macs)
        exact = next((level for level in levels if level.macs == asked), None)
        if exact:
            return exact
    near = [level for level in levels if level.holds(judged.macs)]
    return min(near, key=lambda level: level.macs - judged.macs, default=None)


def _own_levels(runs: Sequence[ScoredRun]) -> dict[str, Level]:
    """Levels at the costs of runs themselves, from the dearest down."""
    found: dict[str, Level] = {}
    current: Level | None = None
    for each in sorted(runs, key=lambda r: (-r.macs, r.id)):
        if current is None or not current.holds(each.macs):
            current = Level(gmacs(each.macs), each.macs, False)
        found[each.id] = current
    return found


def _series(runs: Mapping[str, RunInfo], level_of: Mapping[str, Level]) -> dict[str, str]:
    """The series of each run; names get as much of the schedule as tells their runs apart."""
    plain = labels_of(list(runs.values()), without=("seed",))
    names = dict(plain)
    for spelling in (_form, _schedule, _identity):
        for run_id in _clashing(runs, names, level_of):
            names[run_id] = f"{plain[run_id]} {spelling(runs[run_id])}".rstrip()
    return names


def _clashing(
    runs: Mapping[str, RunInfo], names: Mapping[str, str], level_of: Mapping[str, Level]
) -> Collection[str]:
    """The runs under names that stand for two runs of one seed at one level."""
    counts = Counter((level_of[i], names[i], run.seed) for i, run in runs.items())
    twice = {name for (_, name, _), count in counts.items() if count > 1}
    return [run_id for run_id in runs if names[run_id] in twice]


def _form(run: RunInfo) -> str:
    """A schedule without the numbers that a budget solves: "r", "keep@3,6,9"."""
    kind, _, rest = run.schedule.partition("=")
    return kind + rest[rest.find("@") :] if "@" in rest else kind


def _schedule(run: RunInfo) -> str:
    return run.schedule


def _identity(run: RunInfo) -> str:
    return run.id
