"""The interface of an engine: what runs the runs of a comparison, here or on other machines."""

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
    """What a pass found on some samples: `rows` of its runs, columns of `SEGMENT_SCHEMA`.

    `logits` are the unpruned model's, where it is one of the runs: columns "place" and "logits".
    """

    rows: pl.DataFrame
    logits: pl.DataFrame | None = None


@dataclass(frozen=True)
class RunError:
    """A run that raised: what, in one line, and where."""

    error: str
    traceback: str


@dataclass(frozen=True)
class RowSink:
    """Where an engine hands in what it finds, in the process that writes the store.

    `take` saves a batch of rows, `fail` gives a run up; `note` records something under the runs of
    these ids; `listen` passes events on; `stopping` says that no further batch should begin.
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
    """True for the engine that runs where no other is named."""
    is_parallel: ClassVar[bool] = False
    """Whether several tasks given to `run` at once are done sooner than one after another."""

    @abstractmethod
    def run(self, comparison: Comparison, tasks: Sequence[Task], sink: RowSink) -> None:
        """Run all tasks and hand in every row once, in batches of rows of about a minute's work.

        A task's unpruned run is computed first, if it is among its runs; otherwise
        `comparison.reference` has its logits. A run that raises is handed in as failed, and the
        others go on. Returns early, with everything so far handed in, once `sink.stopping()`.
        """

    def close(self) -> None:  # noqa: B027  most hold nothing
        """Free what the engine holds, when all comparisons are done."""
