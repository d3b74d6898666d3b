"""The interface of an engine, which executes the runs of a comparison, here or elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import polars as pl

if TYPE_CHECKING:
    from .evaluation.events import Listener
    from .study.comparison import Comparison


@dataclass(frozen=True)
class Task:
    """Some runs of a comparison, by id, on the samples at `positions` of `comparison.samples`.

    One pass over these samples serves all the runs.
    """

    ids: tuple[str, ...]
    positions: Sequence[int]


@dataclass(frozen=True)
class RowBatch:
    """Results of a pass on some samples: `rows` of its runs, with the columns of `SEGMENT_SCHEMA`.

    `logits` are those of the unpruned model, if it is one of the runs: columns "place" and
    "logits".
    """

    rows: pl.DataFrame
    logits: pl.DataFrame | None = None


@dataclass(frozen=True)
class RunError:
    """An exception in a run: its message in one line, and its traceback."""

    error: str
    traceback: str


@dataclass(frozen=True)
class RowSink:
    """Callbacks that take the results of an engine, in the process that writes the store.

    `take` saves a batch of rows; `fail` marks a run, by id, as failed; `note` stores a text with
    the runs of the given ids; `listen` passes events on; `stopping` tells whether no further batch
    should begin.
    """

    take: Callable[[RowBatch], None]
    fail: Callable[[str, RunError], None]
    note: Callable[[Sequence[str], str], None]
    listen: Listener
    stopping: Callable[[], bool]


class Engine(ABC):
    """Runs the tasks of comparisons.

    To offer one, subclass, set `name`, write a docstring whose first sentence describes it, and
    return the class from the hook `keeprate_engines`. Typed constructor arguments are its
    parameters: `--engine ray:address=auto`.
    """

    name: ClassVar[str]
    is_default: ClassVar[bool] = False
    """True for the engine that is used if the user names none."""
    is_parallel: ClassVar[bool] = False
    """Whether `run` finishes several tasks sooner together than one after another."""

    @abstractmethod
    def run(self, comparison: Comparison, tasks: Sequence[Task], sink: RowSink) -> None:
        """Run all tasks and give every row to `sink` once, in batches of about a minute's work.

        The unpruned run is computed first if the task has it; otherwise `comparison.reference` has
        its logits. A run that raises is reported with `sink.fail`, and the others continue. Once
        `sink.stopping()` is true, the engine saves the rows it has and returns early.
        """

    def close(self) -> None:  # noqa: B027  most engines hold nothing
        """Free the engine's resources after all comparisons are done."""
