"""The driver's side of a pass by Ray: it sends shards, takes replies, resends lost shards."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import polars as pl
import ray

from ...engine import RowSink, RunError
from ..events import Note, PassAdvanced
from .remote_worker import WorkerReply, WorkerRequest, work
from .shards import Cutter, Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...study.comparison import Comparison

_POLL_SECONDS: Final = 0.5
"""How long to wait for a reply before asking again whether the study is stopping."""

_GRACE_SECONDS: Final = 30.0
"""How long a stopped pass waits for the batches that are being computed."""


@dataclass(frozen=True)
class WorkerPool:
    """The workers of a pass: the share of each, how many there are now, and how to stop them.

    `cpus` and `gpus` are those of one worker. `size` counts again at each call, because machines
    come and go. `flag` is an actor, a `StopFlag`. A shard is handed out at most `attempts` times.
    """

    cpus: float
    gpus: float
    attempts: int
    size: Callable[[], int]
    flag: Any


class Dispatch:
    """Hands out the shards of a pass, one to a worker, and passes their replies to the sink.

    `here` is the name of the driver's own device.
    """

    def __init__(
        self, comparison: Comparison, cutter: Cutter, sink: RowSink, crew: WorkerPool, here: str
    ) -> None:
        self.comparison, self.cutter, self.sink, self.crew = comparison, cutter, sink, crew
        # no retries by Ray: a lost shard is handed out again without the runs that failed meanwhile
        self._remote = ray.remote(num_cpus=crew.cpus, num_gpus=crew.gpus, max_retries=0)(work)
        self._out: dict[Any, Shard] = {}
        self._lost: deque[Shard] = deque()
        self._here = here
        self._noted: set[tuple[str, str]] = set()
        self._correct: Counter[str] = Counter()
        self._images: Counter[str] = Counter()
        self._stopped: float | None = None

    def run(self, order: WorkerRequest) -> None:
        """Compute all shards on the workers; return early once the sink is stopping.

        Raises KeeprateError for what no other worker can mend; then no shard is left running.
        """
        # stored once in the cluster: every shard refers to the same description
        shared = ray.put(order)
        try:
            self._hand_out(shared)
            while self._out and not self._is_overdue():
                self._collect()
                self._hand_out(shared)
        finally:
            for reference in self._out:
                # forced, so that a worker ends even in the middle of a batch
                ray.cancel(reference, force=True)

    def _hand_out(self, order: Any) -> None:
        """Give every idle worker a shard, or tell all workers to stop."""
        if self.sink.stopping():
            self._stopped = self._stopped or time.monotonic()
            self.crew.flag.raise_flag.remote()
            return
        workers = self.crew.size()
        while len(self._out) < workers and (shard := self._next(workers)):
            logits = self._reference(shard)
            self._out[self._remote.remote(order, shard, logits, self.crew.flag)] = shard

    def _is_overdue(self) -> bool:
        return self._stopped is not None and time.monotonic() - self._stopped > _GRACE_SECONDS

    def _next(self, workers: int) -> Shard | None:
        """Return the next shard to hand out: lost ones first, without runs that were given up."""
        while self._lost:
            shard = self._lost.popleft().again(self.cutter.given_up)
            if shard.ids:
                return shard
        return self.cutter.cut(workers)

    def _reference(self, shard: Shard) -> NDArray[Any] | None:
        """Return the unpruned model's logits for a shard, None if it computes them itself."""
        reference = self.comparison.reference
        if reference is None or self.comparison.unpruned.id in self.cutter.tasks[shard.task].ids:
            return None
        logits: NDArray[Any] = reference[list(shard.positions)]
        return logits

    def _collect(self) -> None:
        """Wait a moment for replies, and take those that came."""
        ready, _ = ray.wait(list(self._out), timeout=_POLL_SECONDS)
        for reference in ready:
            shard = self._out.pop(reference)
            try:
                reply = ray.get(reference)
            except ray.exceptions.RayError as error:
                self._miss(shard, error)
            else:
                self._take(shard, reply)

    def _miss(self, shard: Shard, error: Exception) -> None:
        """Keep a shard that was lost with its worker for another attempt, or give up its runs."""
        reason = _error_line(error)
        if shard.attempt < self.crew.attempts:
            counts = f"{len(shard.positions)} images for {len(shard.ids)} run(s)"
            self.sink.listen(Note(f"A worker was lost, {counts} are computed again: {reason}"))
            self._lost.append(shard)
            return
        message = f"Its worker was lost {shard.attempt} times on the same images: {reason}"
        self._give_up(dict.fromkeys(shard.ids, RunError(message, str(error))))

    def _take(self, shard: Shard, reply: WorkerReply) -> None:
        """Hand in all that a worker sent, and raise the error that stopped it."""
        # rows before the error, so that an error which ends the pass loses none
        for row_batch in reply.row_batches:
            self.sink.take(row_batch)
        self._give_up(reply.failed)
        for names, text in reply.notes:
            self._note(names, text)
        if reply.device not in (None, self._here):
            self._note(shard.ids, f"Computed by Ray on {reply.device}.")
        if reply.error is not None:
            raise reply.error
        if reply.row_batches:
            self._count(
                shard, pl.concat([row_batch.rows for row_batch in reply.row_batches]), reply
            )

    def _give_up(self, failed: Mapping[str, RunError]) -> None:
        """Leave these runs out from now on; the sink is told once of each, by the first worker."""
        for run_id, error in failed.items():
            if run_id not in self.cutter.given_up:
                self.cutter.give_up(run_id)
                self.sink.fail(run_id, error)

    def _note(self, names: Sequence[str], text: str) -> None:
        """Note a text once for each run, however many workers say it."""
        new = [name for name in names if (name, text) not in self._noted]
        self._noted.update((name, text) for name in new)
        if new:
            self.sink.note(new, text)

    def _count(self, shard: Shard, rows: pl.DataFrame, reply: WorkerReply) -> None:
        """Count the images of a shard and the right predictions of its runs, for the progress."""
        images = rows["place"].n_unique()
        self.cutter.learn(shard, images, reply.seconds)
        sums = rows.group_by("run").agg(pl.len(), pl.col("correct").sum())
        for run, images_seen, correct in sums.iter_rows():
            self._images[run] += images_seen
            self._correct[run] += correct
        self.sink.listen(PassAdvanced(images, self._top1))

    def _top1(self) -> dict[str, float]:
        return {run_id: self._correct[run_id] / images for run_id, images in self._images.items()}


def _error_line(error: Exception) -> str:
    """Return one line on a lost worker: the error that it raised, or else the one of Ray."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
