"""The code of a Ray worker: it makes the same comparison again, and computes shards of it."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...engine import RowBatch, RowSink, RunError, Task
from ...errors import KeeprateError, SampleError
from ...plugins.discovery import VARIABLE
from ...plugins.registry import activate, load
from ...request import LoopOptions, Request
from .shards import Shard

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...results.records import RunInfo
    from ...study.comparison import Comparison

_PARTS = {
    "sources": "the code of its plugins",
    "backbone": "the model or its weights",
    "data": "the data set",
}
"""What may differ between two machines with the same request, by field of a run."""


@dataclass(frozen=True)
class WorkerRequest:
    """What a worker must know to make a comparison again; it is the same for all its shards.

    `jobs` are the runs as the driver described them, `bad` the samples that the driver found
    unusable, `versions` its packages. `limits` is the driver's environment variable that limits
    plugins, `files` are plugin files, `folder` is where relative paths start. PyTorch computes with
    `threads` threads, so that rows do not depend on how many processors a machine has.
    """

    request: Request
    loop: LoopOptions
    jobs: tuple[RunInfo, ...]
    bad: Mapping[str, str]
    versions: Mapping[str, str]
    limits: str | None
    files: tuple[Path, ...]
    folder: Path
    threads: int


@dataclass
class WorkerReply:
    """The results of a shard, computed in `seconds` without the preparation, on `device`.

    `error` is a mistake for which the whole comparison cannot run on this worker.
    """

    row_batches: list[RowBatch] = field(default_factory=list)
    failed: dict[str, RunError] = field(default_factory=dict)
    notes: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    seconds: float = 0.0
    device: str | None = None
    error: KeeprateError | None = None


class StopFlag:
    """An actor that tells workers, between two batches, whether the study was stopped."""

    def __init__(self) -> None:
        self._raised = False

    def raise_flag(self) -> None:
        """Tell every worker that asks from now on to stop."""
        self._raised = True

    def is_raised(self) -> bool:
        """Return whether no further batch should begin."""
        return self._raised


class Watch:
    """Asks the flag, at most once a second; a flag that cannot be reached stops no worker."""

    def __init__(self, flag: Any) -> None:
        self._flag = flag
        self._next = time.monotonic()
        self._stopped = False

    def __call__(self) -> bool:
        """Return whether no further batch should begin."""
        import ray

        if not self._stopped and time.monotonic() >= self._next:
            try:
                self._stopped = ray.get(self._flag.is_raised.remote(), timeout=10)
            except ray.exceptions.RayError:
                self._stopped = False
            # a question to another machine takes longer than a small batch
            self._next = time.monotonic() + 1
        return self._stopped


class StoredLogits:
    """Logits (N, K) of the unpruned model for the samples at N `positions`, in ascending order."""

    def __init__(self, positions: Sequence[int], logits: NDArray[Any]) -> None:
        self.positions, self.logits = np.asarray(positions), logits

    def __getitem__(self, positions: NDArray[Any]) -> NDArray[Any]:
        """Return the logits (B, K) at `positions` (B,), all of which must be stored."""
        logits: NDArray[Any] = self.logits[self.positions.searchsorted(positions)]
        return logits


def work(order: WorkerRequest, shard: Shard, logits: NDArray[Any] | None, flag: Any) -> WorkerReply:
    """Compute a shard; a mistake that the user can mend is in the reply.

    `logits` (N, K) are the unpruned model's for the shard's samples, None where that model is among
    the runs. Any other exception counts as a lost worker.
    """
    reply, stopping = WorkerReply(), Watch(flag)
    try:
        if not stopping():
            _judge(order, shard, logits, _sink(reply, stopping), reply)
    except SampleError as error:
        # the sample is at fault, not this machine: the message stays as it is
        reply.error = error
    except KeeprateError as error:
        reply.error = KeeprateError(f"On machine '{platform.node()}': {error}")
    return reply


def _judge(
    order: WorkerRequest,
    shard: Shard,
    logits: NDArray[Any] | None,
    sink: RowSink,
    reply: WorkerReply,
) -> None:
    from ..._devices import device_name, device_of
    from ..passes import run_pass
    from ..tasks import pass_of

    comparison = _comparison(order)
    work = pass_of(comparison, Task(shard.ids, shard.positions))
    if logits is not None:
        work = replace(work, reference=StoredLogits(shard.positions, logits))
    # the comparison is made once in a worker: its time would mislead the size of later shards
    began = time.monotonic()
    run_pass(work, order.loop, sink)
    reply.seconds = time.monotonic() - began
    reply.device = device_name(device_of(order.loop.accelerator))


def _sink(reply: WorkerReply, stopping: Callable[[], bool]) -> RowSink:
    return RowSink(
        take=reply.row_batches.append,
        fail=reply.failed.__setitem__,
        note=lambda names, text: reply.notes.append((tuple(names), text)),
        listen=lambda event: None,
        stopping=stopping,
    )


_last_comparison: list[tuple[WorkerRequest, Comparison]] = []
"""The comparison that this process computed last; only one, as each holds a model."""


def _comparison(order: WorkerRequest) -> Comparison:
    """Return the comparison; a process makes it once.

    Raises KeeprateError for a comparison that cannot be made here or turns out different.
    """
    if not _last_comparison or _last_comparison[0][0] != order:
        # the old model goes before the new one comes: both may not fit into memory
        _last_comparison.clear()
        _last_comparison.append((order, _make(order)))
    return _last_comparison[0][1]


def _make(order: WorkerRequest) -> Comparison:
    import torch

    from ...results.environment import versions
    from ...study.build import prepare

    refuse_versions(order.versions, versions())
    # before any computing: the last digits of a sum depend on the number of threads
    torch.set_num_threads(order.threads)
    # a machine need not have the driver's folder if no path in the request is relative
    if order.folder.is_dir():
        os.chdir(order.folder)
    environ = {} if order.limits is None else {VARIABLE: order.limits}
    # plugins before the comparison, whose names they register
    activate(load(order.files, environ=environ, directory=order.folder))
    comparison = prepare(order.request, order.bad)
    refuse_differences(order.jobs, [job.info for job in comparison.jobs])
    return comparison


def refuse_versions(theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Raise KeeprateError for a package of another version; builds ("+cu130") may differ."""
    for name, version in theirs.items():
        here = ours.get(name, version)
        if here.partition("+")[0] != version.partition("+")[0]:
            raise KeeprateError(
                f"{name} is {here}, not {version}: install the same version on every machine."
            )


def refuse_differences(theirs: Sequence[RunInfo], ours: Sequence[RunInfo]) -> None:
    """Raise KeeprateError that says what differs, unless `ours` has all runs of the driver."""
    if {info.id for info in theirs} <= {info.id for info in ours}:
        return
    pairs = list(zip(theirs, ours, strict=False))
    parts = [
        description
        for part, description in _PARTS.items()
        if any(getattr(one, part) != getattr(other, part) for one, other in pairs)
    ]
    raise KeeprateError(
        f"the runs are not those that were asked for, as this machine differs in "
        f"{' and '.join(parts) or 'its methods'}: make all machines the same."
    )
