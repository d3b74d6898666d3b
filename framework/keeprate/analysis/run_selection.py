"""Choose which runs of a group are compared with each other, sample by sample."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .runs import RunGroup, ScoredRun
from .series import Level, Member, SeriesTable

MOST_RUNS: Final = 8
"""Most series that are compared with each other; of more series, one of each method is taken."""
_MOST_NAMES: Final = 6


@dataclass(frozen=True)
class SelectedRuns:
    """Two or more runs, each under a label of its own; `text` says how they were chosen.

    `budget` is "" for runs that were named one by one.
    """

    budget: str
    runs: Mapping[str, ScoredRun]
    text: str

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the runs, in their order."""
        return tuple(run.id for run in self.runs.values())


def choose(
    arranged: SeriesTable, methods: Collection[str] = (), budget: str = ""
) -> SelectedRuns | None:
    """Return the runs to compare at one cost, None where no cost has two series.

    The cost is the budget where most methods were run; of equal budgets that with most series,
    then the cheapest. `methods` and `budget` restrict the choice. Of each series the run with the
    lowest seed is taken. Of more than `MOST_RUNS` series the most accurate one of each method is
    taken, or the most accurate ones where there is a single method; never more than `MOST_RUNS`.
    """
    candidates = {
        level: _members_of_methods(arranged.members[level], methods) for level in arranged.levels
    }
    if budget:
        candidates = {
            level: members for level, members in candidates.items() if level.text == budget
        }
    rivals = {level: members for level, members in candidates.items() if len(members) > 1}
    if not rivals:
        return None
    level = max(rivals, key=lambda candidate: _weight(candidate, rivals[candidate]))
    members = rivals[level]
    names = _selected_names(members)
    runs = {name: members[name][0] for name in names}
    scope = (
        ", one of each method" if len({_method(member) for member in members.values()}) > 1 else ""
    )
    return SelectedRuns(
        level.text, runs, _text(level, names, sorted(set(members) - set(names)), scope)
    )


def named(group: RunGroup, ids: Collection[str]) -> SelectedRuns:
    """Return the runs of a group that have these ids, in the order of the group."""
    runs = [run for run in group.runs if run.id in ids]
    plain_labels = [run.label for run in runs]
    labels_with_cost = [
        f"{run.label} {run.run.budget or run.run.schedule}".rstrip() for run in runs
    ]
    # the shortest labels that tell the runs apart: without costs, with costs, with ids
    labels = next(
        (texts for texts in (plain_labels, labels_with_cost) if len(set(texts)) == len(texts)), None
    )
    distinct = labels or [
        f"{label} {run.id}" for label, run in zip(plain_labels, runs, strict=True)
    ]
    budgets = {run.run.budget or "" for run in runs}
    at_budget = f" at {next(iter(budgets))}" if len(budgets) == 1 and budgets != {""} else ""
    text = f"{len(runs)} runs{at_budget}, named when the pictures were drawn."
    return SelectedRuns("", dict(zip(distinct, runs, strict=True)), text)


def _members_of_methods(
    members: Mapping[str, Member], methods: Collection[str]
) -> dict[str, Member]:
    return {
        name: runs for name, runs in members.items() if not methods or runs[0].run.method in methods
    }


def _weight(level: Level, members: Mapping[str, Member]) -> tuple[int, int, float]:
    methods = {_method(runs) for runs in members.values()}
    return len(methods), len(members), -level.macs


def _selected_names(members: Mapping[str, Member]) -> list[str]:
    """Return the names of the series that are compared, in alphabetical order."""
    if len(members) <= MOST_RUNS:
        return sorted(members)
    ranked = sorted(members, key=lambda name: (-members[name][0].goodness, name))
    # reversed, so that the best series of a method is written last and stays
    best = {_method(members[name]): name for name in reversed(ranked)}
    best_of_methods = [name for name in ranked if best[_method(members[name])] == name]
    return sorted((best_of_methods if len(best_of_methods) > 1 else ranked)[:MOST_RUNS])


def _method(runs: Member) -> str:
    return runs[0].run.method


def _text(level: Level, chosen: Sequence[str], left_out: Sequence[str], scope: str) -> str:
    if not left_out:
        return f"All {len(chosen)} series at {level.text}, one run of each."
    more = len(left_out) - _MOST_NAMES
    names = ", ".join(left_out[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
    return (
        f"{len(chosen)} of {len(chosen) + len(left_out)} series at {level.text}, one run of each: "
        f"the best{scope}. Left out: {names}."
    )
