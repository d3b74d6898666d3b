"""The interface of an engine, which has the tasks of a comparison computed, here or elsewhere."""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

from .errors import KeeprateError, SampleError

if TYPE_CHECKING:
    import polars as pl

    from .evaluation.events import Event, Listener
    from .request import LoopOptions


@dataclass(frozen=True)
class RowBatch:
    """Results of a pass on some samples: `rows` of its runs (columns of `PARTIAL_ROW_SCHEMA`).

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


def _never() -> bool:
    return False


def _ignore(told: Event | pl.DataFrame) -> None:
    pass


@dataclass(frozen=True)
class RowSink:
    """Callbacks that take the results of an engine, in the process that writes the store.

    `take` saves a batch of rows; `fail` marks a run, by id, as failed; `note` stores a text with
    the runs of the given ids, and tells it to the user once; `listen` passes events on; `stopping`
    tells whether no further batch should begin; `advance` tells the user of rows that came from
    elsewhere.
    """

    take: Callable[[RowBatch], None]
    fail: Callable[[str, RunError], None]
    note: Callable[[Sequence[str], str], None]
    listen: Listener = _ignore
    stopping: Callable[[], bool] = _never
    advance: Callable[[pl.DataFrame], None] = _ignore


@dataclass
class Reply:
    """What a task gave where it was called; it can be pickled.

    `error` is a mistake for which the task could not be computed there, or not to its end.
    """

    row_batches: list[RowBatch] = field(default_factory=list)
    failed: dict[str, RunError] = field(default_factory=dict)
    notes: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    error: KeeprateError | None = None

    def rows(self) -> pl.DataFrame | None:
        """Return the rows of all batches in one table, None if there are none."""
        import polars as pl

        return pl.concat([batch.rows for batch in self.row_batches]) if self.row_batches else None

    def collect(self, stopping: Callable[[], bool] = _never) -> RowSink:
        """Return a sink that adds to this reply."""
        return RowSink(
            take=self.row_batches.append,
            fail=self.failed.__setitem__,
            note=lambda names, text: self.notes.append((tuple(names), text)),
            stopping=stopping,
        )

    def hand_in(self, sink: RowSink) -> None:
        """Give everything to `sink`, then raise the error if there is one."""
        # rows before the error, so that an error which ends the study loses none
        for row_batch in self.row_batches:
            sink.take(row_batch)
        for run_id, run_error in self.failed.items():
            sink.fail(run_id, run_error)
        for run_ids, text in self.notes:
            sink.note(run_ids, text)
        if (rows := self.rows()) is not None:
            sink.advance(rows)
        if self.error is not None:
            raise self.error


@dataclass(frozen=True, eq=False)
class Task(ABC):
    """Some runs of a comparison, by id, on its samples at `positions`; one pass serves all runs.

    A task is a function: its call computes it and returns a `Reply`. It can be pickled and called
    in another process or on another machine, which makes the comparison again by name. `loop` says
    how to compute. On another machine PyTorch has `threads` threads, by default as many as in the
    process that pickled the task, because rows may depend on it in their last digits.
    """

    ids: tuple[str, ...]
    positions: Sequence[int]
    loop: LoopOptions
    threads: int | None = None

    @abstractmethod
    def run_here(self, sink: RowSink) -> None:
        """Compute the task in this process, and give `sink` the rows about once a minute.

        A run that raises is reported with `sink.fail`, and the others continue. Once
        `sink.stopping()` is true, the rows so far are handed in and the method returns. Raises
        KeeprateError for what the user can mend.
        """

    @abstractmethod
    def check_portable(self) -> None:
        """Raise KeeprateError if the task cannot be pickled: not everything in it has a name."""

    def __call__(self, stopping: Callable[[], bool] = _never) -> Reply:
        """Compute the task and return what came out, a mistake that the user can mend included.

        `stopping` is asked after each batch; once it is true, the reply has the rows so far.
        """
        reply = Reply()
        try:
            if not stopping():
                self.run_here(reply.collect(stopping))
        except SampleError as error:
            # the sample is at fault, not this machine: the message stays as it is
            reply.error = error
        except KeeprateError as error:
            reply.error = KeeprateError(f"On machine '{platform.node()}': {error}")
        return reply

    def within(self, cpus: float, gpus: float) -> Self:
        """Return the task for a place with so many processors and GPUs, or with shares of them."""
        # "auto" would take a GPU that belongs to others
        on_cpu = self.loop.accelerator == "auto" and not gpus
        loop = replace(
            self.loop,
            # the loop itself takes one of the processors
            workers=min(self.loop.workers, max(0, int(cpus) - 1)),
            accelerator="cpu" if on_cpu else self.loop.accelerator,
        )
        return replace(self, loop=loop, threads=max(1, int(cpus)))

    def parts(self, images: int) -> list[Self]:
        """Cut the task into parts of so many images, rounded up to whole batches.

        Every image is in the batch that it would be in without the cut, so rows are the same.
        """
        batches = max(1, -(-images // self.loop.batch_size))
        size = batches * self.loop.batch_size
        starts = range(0, len(self.positions), size)
        return [replace(self, positions=self.positions[start : start + size]) for start in starts]


class Engine(ABC):
    """Has the tasks of comparisons computed.

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
    def run(self, tasks: Sequence[Task], sink: RowSink) -> None:
        """Have all tasks of one comparison computed, and every row given to `sink` once.

        A task is computed in this process with `task.run_here(sink)`, or anywhere else by its call,
        whose reply is handed in with `reply.hand_in(sink)`. Once `sink.stopping()` is true, the
        engine hands in the rows it has and returns early.
        """

    def close(self) -> None:  # noqa: B027  most engines hold nothing
        """Free the engine's resources after all comparisons are done."""
