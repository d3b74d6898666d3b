"""Splits the unfinished work of a comparison into tasks for an engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from ..engine import Task
from ..study.comparison import Comparison
from .lightning_loop import Pass


def pass_of(comparison: Comparison, task: Task) -> Pass:
    """Return the pass that computes a task."""
    models = {job.id: job.model for job in comparison.jobs if job.id in task.ids}
    unpruned = comparison.unpruned.id
    if unpruned in models:
        return Pass(models, comparison.samples, task.positions, unpruned=unpruned)
    return Pass(models, comparison.samples, task.positions, reference=comparison.reference)


def tasks_of(
    done: Mapping[str, frozenset[int]], samples: int, runs_per_pass: int, first: str
) -> list[Task]:
    """Split runs that lack rows of some of the `samples` into passes of at most `runs_per_pass`.

    `done` has the positions of the samples that each run has rows of. Runs that lack the same
    samples go together, in their order. The pass of the run `first` comes first.
    """
    groups: dict[frozenset[int], list[str]] = defaultdict(list)
    for name, positions in done.items():
        groups[positions].append(name)
    tasks = []
    for positions, names in groups.items():
        missing = [position for position in range(samples) if position not in positions]
        for part in _parts(names, runs_per_pass) if missing else ():
            tasks.append(Task(tuple(part), missing))
    return sorted(tasks, key=lambda task: first not in task.ids)


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    """Split names into as few parts as possible, of nearly equal size and at most `most` names."""
    # as few as possible, because each pass decodes every image again
    count = -(-len(names) // most)
    edges = [round(part * len(names) / count) for part in range(count + 1)]
    return [names[start:end] for start, end in pairwise(edges)]
