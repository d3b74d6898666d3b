"""The driver's side of a pass by Ray: it sends shards, takes replies, resends lost shards."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import ray

from ...engine import Reply, RowSink, RunError, Task
from ..events import Note
from .ray_stop import Watch
from .shards import Cutter, Shard

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


def call(task: Task, flag: Any) -> Reply:
    """Compute a task on a worker, until the flag is raised."""
    return task(Watch(flag))


class Dispatch:
    """Hands out the shards of a pass, one to a worker, and passes their replies to the sink."""

    def __init__(self, cutter: Cutter, sink: RowSink, crew: WorkerPool) -> None:
        self.cutter, self.sink, self.crew = cutter, sink, crew
        # no retries by Ray: a lost shard is handed out again without the runs that failed meanwhile
        self._remote = ray.remote(num_cpus=crew.cpus, num_gpus=crew.gpus, max_retries=0)(call)
        self._out: dict[Any, Shard] = {}
        self._lost: deque[Shard] = deque()
        self._stopped: float | None = None

    def run(self) -> None:
        """Compute all shards on the workers; return early once the sink is stopping.

        Raises KeeprateError for what no other worker can mend; then no shard is left running.
        """
        try:
            self._hand_out()
            while self._out and not self._is_overdue():
                self._collect()
                self._hand_out()
        finally:
            for reference in self._out:
                # forced, so that a worker ends even in the middle of a batch
                ray.cancel(reference, force=True)

    def _hand_out(self) -> None:
        """Give every idle worker a shard, or tell all workers to stop."""
        if self.sink.stopping():
            self._stopped = self._stopped or time.monotonic()
            self.crew.flag.raise_flag.remote()
            return
        workers = self.crew.size()
        while len(self._out) < workers and (shard := self._next(workers)):
            task = self.cutter.task_of(shard)
            self._out[self._remote.remote(task, self.crew.flag)] = shard

    def _is_overdue(self) -> bool:
        return self._stopped is not None and time.monotonic() - self._stopped > _GRACE_SECONDS

    def _next(self, workers: int) -> Shard | None:
        """Return the next shard to hand out: lost ones first, without runs that were given up."""
        while self._lost:
            shard = self._lost.popleft().again(self.cutter.given_up)
            if shard.ids:
                return shard
        return self.cutter.cut(workers)

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
        run_error = RunError(message, str(error))
        self._take(shard, Reply(failed=dict.fromkeys(shard.ids, run_error)))

    def _take(self, shard: Shard, reply: Reply) -> None:
        """Hand in all that a worker sent, and learn from it; raise the error that stopped it."""
        # the sink is told once of each run, by the first worker
        new = {
            run_id: run_error
            for run_id, run_error in reply.failed.items()
            if run_id not in self.cutter.given_up
        }
        self.cutter.given_up.update(new)
        if (rows := reply.rows()) is not None:
            self.cutter.learn(shard, rows["place"].n_unique(), float(rows["seconds"].sum()))
        replace(reply, failed=new).hand_in(self.sink)


def _error_line(error: Exception) -> str:
    """Return one line on a lost worker: the error that it raised, or else the one of Ray."""
    cause = getattr(error, "cause", None) or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"{type(cause).__name__}: {lines[0]}" if lines else type(cause).__name__
