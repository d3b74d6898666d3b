"""Put runs in order for comparison: find the budget and the series of each run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..costs import TOLERANCE, gmacs, parse_budget
from ..results.labels import labels_of
from ..results.records import RunInfo
from .metrics import MetricInfo
from .runs import RunGroup, ScoredRun

_OVER: Final = 1e-9
"""Share by which a cost may exceed the budget, since a mean of integers is rounded."""


@dataclass(frozen=True)
class Level:
    """A budget, as it was asked for, and the multiply-accumulates per image that it allows.

    Where `asked` is false it is the cost of runs that have no budget.
    """

    text: str
    macs: float
    asked: bool

    def holds(self, macs: float) -> bool:
        """Whether this cost fills the budget, as nearly as whole numbers of tokens allow."""
        return (1 - TOLERANCE) * self.macs <= macs <= (1 + _OVER) * self.macs


Member = tuple[ScoredRun, ...]
"""The runs of one series at one level, one for each seed, in the order of the seeds."""


@dataclass(frozen=True)
class SeriesTable:
    """The comparable runs of a group that reduce tokens, by level and by series.

    `members` holds the runs of each level and series, one for each seed. `level_of` and
    `series_of` are by run id; `unpruned` is None where the group has no unpruned run.
    """

    levels: tuple[Level, ...]
    members: Mapping[Level, Mapping[str, Member]]
    level_of: Mapping[str, Level]
    series_of: Mapping[str, str]
    unpruned: ScoredRun | None
    metric: MetricInfo

    @property
    def series(self) -> list[str]:
        """The names of all series, in alphabetical order."""
        return sorted(set(self.series_of.values()))


def arrange(group: RunGroup, budgets: Sequence[str]) -> SeriesTable:
    """Give every run its level and its series; levels are in order, the dearest first.

    The level of a run is the budget it was solved for, or one that its cost meets within the
    solver's tolerance; without any such budget it is the run's own cost. If `budgets` is empty,
    the budgets of the runs count. The name of a series is the method with those values in which
    its runs differ, without the seed, and with the schedule where several would share a name.
    Raises KeeprateError for a budget that cannot be read.
    """
    runs = [run for run in group.runs if run.run.reduces and run.samples == group.samples]
    unpruned_macs = group.runs[0].result.measured.macs.unpruned
    levels = _budgets(budgets or [run.run.budget for run in runs if run.run.budget], unpruned_macs)
    near = {run.id: _level(run, levels, unpruned_macs) for run in runs}
    level_of = {run_id: level for run_id, level in near.items() if level}
    level_of |= _own_levels([run for run in runs if run.id not in level_of])
    series_of = _series({run.id: run.run for run in runs}, level_of)
    runs_at: dict[Level, dict[str, list[ScoredRun]]] = {level: {} for level in levels}
    for scored_run in sorted(runs, key=lambda run: (run.run.seed, run.id)):
        series_runs = runs_at.setdefault(level_of[scored_run.id], {})
        series_runs.setdefault(series_of[scored_run.id], []).append(scored_run)
    ordered = sorted(runs_at, key=lambda level: (-level.macs, level.text))
    members = {
        level: {name: tuple(runs_at[level][name]) for name in sorted(runs_at[level])}
        for level in ordered
    }
    return SeriesTable(tuple(ordered), members, level_of, series_of, group.unpruned, group.metric)


def _budgets(texts: Iterable[str], unpruned_macs: int) -> list[Level]:
    """Return a level for every cost; equal budgets are one level, under the shortest spelling."""
    spellings: dict[int, set[str]] = defaultdict(set)
    for text in dict.fromkeys(texts):
        spellings[parse_budget(text).of(unpruned_macs)].add(text)
    return [
        Level(min(equal, key=lambda text: (len(text), text)), macs, True)
        for macs, equal in spellings.items()
    ]


def _level(scored_run: ScoredRun, levels: Sequence[Level], unpruned_macs: int) -> Level | None:
    """Return the level that a run was solved for, or the nearest one that its cost meets."""
    if scored_run.run.budget:
        macs = parse_budget(scored_run.run.budget).of(unpruned_macs)
        exact = next((level for level in levels if level.macs == macs), None)
        if exact:
            return exact
    within_reach = [level for level in levels if level.holds(scored_run.macs)]
    return min(within_reach, key=lambda level: level.macs - scored_run.macs, default=None)


def _own_levels(runs: Sequence[ScoredRun]) -> dict[str, Level]:
    """Return levels at the costs of the runs themselves; runs of almost the same cost share one."""
    level_of: dict[str, Level] = {}
    current: Level | None = None
    # the dearest run goes first: a level holds costs below its own, but hardly any above it
    for run in sorted(runs, key=lambda run: (-run.macs, run.id)):
        if current is None or not current.holds(run.macs):
            current = Level(gmacs(run.macs), run.macs, False)
        level_of[run.id] = current
    return level_of


def _series(runs: Mapping[str, RunInfo], level_of: Mapping[str, Level]) -> dict[str, str]:
    """Return the series of each run; a name holds as much of the schedule as tells runs apart."""
    plain = labels_of(list(runs.values()), without=("seed",))
    names = dict(plain)
    # from the shortest addition to the one that always tells runs apart
    for spelling in (_form, _schedule, _identity):
        for run_id in _clashing(runs, names, level_of):
            names[run_id] = f"{plain[run_id]} {spelling(runs[run_id])}".rstrip()
    return names


def _clashing(
    runs: Mapping[str, RunInfo], names: Mapping[str, str], level_of: Mapping[str, Level]
) -> Collection[str]:
    """Return the runs whose name also stands for another run of the same seed and level."""
    counts = Counter((level_of[i], names[i], run.seed) for i, run in runs.items())
    twice = {name for (_, name, _), count in counts.items() if count > 1}
    return [run_id for run_id in runs if names[run_id] in twice]


def _form(run: RunInfo) -> str:
    """Return a schedule without the numbers that a budget solves: "r", "keep@3,6,9"."""
    kind, _, rest = run.schedule.partition("=")
    return kind + rest[rest.find("@") :] if "@" in rest else kind


def _schedule(run: RunInfo) -> str:
    return run.schedule


def _identity(run: RunInfo) -> str:
    return run.id
