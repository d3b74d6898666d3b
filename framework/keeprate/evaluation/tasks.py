"""Splits the unfinished work of a comparison into tasks for an engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..engine import RowSink, Task
from ..errors import KeeprateError
from ..study.comparison import Comparison
from .passes import pass_of, run_pass
from .remote_task import RemoteTask, StoredLogits, portable


@dataclass(frozen=True, eq=False, kw_only=True)
class LocalTask(Task):
    """A task beside its comparison; pickled, it becomes a `RemoteTask`."""

    comparison: Comparison

    def run_here(self, sink: RowSink) -> None:
        """Compute the task with the models of the comparison."""
        run_pass(pass_of(self.comparison, self, self.comparison.reference), self.loop, sink)

    def check_portable(self) -> None:
        """Raise KeeprateError for a comparison that other machines cannot make again.

        It is of objects, of code that cannot be compared, or on several devices.
        """
        if self.comparison.request is None:
            raise KeeprateError(
                "Workers make the comparison again by name, and this one was made of objects: "
                "describe it as a Request, or leave the engine out."
            )
        for line in self.comparison.unknown_code:  # ids would differ in every process
            raise KeeprateError(f"{line} Another machine cannot tell that it has the same.")
        if self.loop.devices != 1:
            raise KeeprateError(
                "The engine gives each worker its share of the devices: leave --devices out, and "
                "tell the engine what a worker gets."
            )

    def __reduce__(self) -> tuple[Callable[[RemoteTask], RemoteTask], tuple[RemoteTask]]:
        """Pickle as the task for another machine, with the logits that it needs."""
        self.check_portable()
        reference, logits = self.comparison.reference, None
        if reference is not None and self.comparison.unpruned.id not in self.ids:
            positions = list(self.positions)
            logits = StoredLogits(positions, reference[positions])
        return _itself, (portable(self, self.comparison, logits),)


def _itself(task: RemoteTask) -> RemoteTask:
    return task


def tasks_of(comparison: Comparison, done: Mapping[str, frozenset[int]]) -> list[LocalTask]:
    """Split runs that lack rows of some samples into tasks of at most `runs_per_pass` runs.

    `done` has the positions of the samples that each run has rows of. Runs that lack the same
    samples go together, in their order. The task with the unpruned run comes first.
    """
    groups: dict[frozenset[int], list[str]] = defaultdict(list)
    for name, positions in done.items():
        groups[positions].append(name)
    options, samples = comparison.options, range(len(comparison.samples))
    tasks = []
    for positions, names in groups.items():
        missing = [position for position in samples if position not in positions]
        for part in _parts(names, options.runs_per_pass) if missing else ():
            tasks.append(LocalTask(tuple(part), missing, options.loop, comparison=comparison))
    return sorted(tasks, key=lambda task: comparison.unpruned.id not in task.ids)


def _parts(names: Sequence[str], most: int) -> list[Sequence[str]]:
    """Split names into as few parts as possible, of nearly equal size and at most `most` names."""
    # as few as possible, because each pass decodes every image again
    count = -(-len(names) // most)
    edges = [round(part * len(names) / count) for part in range(count + 1)]
    return [names[start:end] for start, end in pairwise(edges)]
