"""Which runs of a group are set against each other, sample by sample."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .runs import RunGroup, ScoredRun
from .series import Level, Member, SeriesTable

MOST_RUNS: Final = 8
"""Series that are set against each other; where there are more, one of each method."""
_MOST_NAMES: Final = 6


@dataclass(frozen=True)
class SelectedRuns:
    """Two runs or more, by a label that tells them apart; `text` says how they were chosen.

    `budget` is "" for runs that were named one by one.
    """

    budget: str
    runs: Mapping[str, ScoredRun]
    text: str

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the runs, in their order."""
        return tuple(each.id for each in self.runs.values())


def choose(
    arranged: SeriesTable, methods: Collection[str] = (), budget: str = ""
) -> SelectedRuns | None:
    """Return the runs to compare at one cost, None where no cost has two series.

    That is the budget where most methods were run; of equal ones that with most series, then the
    cheapest. With `methods` only runs of these count, with `budget` only its level. Of each series
    the lowest seed is taken. Of more than `MOST_RUNS` series it is the most accurate of each
    method, at most as many; where there is one method alone, its most accurate.
    """
    found = {level: _of(arranged.members[level], methods) for level in arranged.levels}
    if budget:
        found = {level: members for level, members in found.items() if level.text == budget}
    rivals = {level: members for level, members in found.items() if len(members) > 1}
    if not rivals:
        return None
    level = max(rivals, key=lambda each: _weight(each, rivals[each]))
    there = rivals[level]
    taken = _taken(there)
    runs = {name: there[name][0] for name in taken}
    which = ", one of each method" if len({_method(each) for each in there.values()}) > 1 else ""
    return SelectedRuns(
        level.text, runs, _text(level, taken, sorted(set(there) - set(taken)), which)
    )


def named(group: RunGroup, ids: Collection[str]) -> SelectedRuns:
    """Return the runs of a group that have these ids, in the order of the group's own."""
    runs = [each for each in group.runs if each.id in ids]
    plain = [each.label for each in runs]
    costs = [f"{each.label} {each.run.budget or each.run.schedule}".rstrip() for each in runs]
    labels = next((every for every in (plain, costs) if len(set(every)) == len(every)), None)
    found = labels or [f"{label} {each.id}" for label, each in zip(plain, runs, strict=True)]
    budgets = {each.run.budget or "" for each in runs}
    at = f" at {next(iter(budgets))}" if len(budgets) == 1 and budgets != {""} else ""
    text = f"{len(runs)} runs{at}, named when the pictures were drawn."
    return SelectedRuns("", dict(zip(found, runs, strict=True)), text)


def _of(members: Mapping[str, Member], methods: Collection[str]) -> dict[str, Member]:
    return {
        name: runs for name, runs in members.items() if not methods or runs[0].run.method in methods
    }


def _weight(level: Level, members: Mapping[str, Member]) -> tuple[int, int, float]:
    methods = {_method(runs) for runs in members.values()}
    return len(methods), len(members), -level.macs


def _taken(members: Mapping[str, Member]) -> list[str]:
    """The names of the series that are compared, by name."""
    if len(members) <= MOST_RUNS:
        return sorted(members)
    ranked = sorted(members, key=lambda name: (-_accuracy(members[name][0]), name))
    best = {_method(members[name]): name for name in reversed(ranked)}
    one_each = [name for name in ranked if best[_method(members[name])] == name]
    return sorted((one_each if len(one_each) > 1 else ranked)[:MOST_RUNS])


def _method(runs: Member) -> str:
    return runs[0].run.method


def _accuracy(judged: ScoredRun) -> float:
    return judged.right / judged.result.measured.images


def _text(level: Level, taken: Sequence[str], left_out: Sequence[str], which: str) -> str:
    if not left_out:
        return f"All {len(taken)} series at {level.text}, one run of each."
    more = len(left_out) - _MOST_NAMES
    names = ", ".join(left_out[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return (
        f"{len(taken)} of {len(taken) + len(left_out)} series at {level.text}, one run of each: "
        f"the most accurate{which}. Left out: {names}."
    )
