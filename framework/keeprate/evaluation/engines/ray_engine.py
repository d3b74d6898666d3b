"""Passes by Ray: on the processors and GPUs of this machine, or of a cluster."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from ...engine import Engine, RowSink, Task
from ...errors import KeeprateError
from ...request import LoopOptions
from ..events import Note

if TYPE_CHECKING:
    from .ray_dispatch import WorkerPool


class RayEngine(Engine):
    """Splits passes over workers of Ray, on this machine or on a cluster.

    `address` is that of a cluster ("auto", "host:port" or "ray://host:port"); without one a cluster
    is started here and ends with the study. At most `workers` work at a time, by default as many as
    there is room for. Each has `cpus` processors and `gpus` GPUs, or a share of one; the default is
    one whole GPU where the runs go to GPUs. A worker gets about `shard_seconds` of work at a time,
    or `shard_images` images, in whole batches. The shard of a lost worker is given to others until
    `attempts` have failed.

    Raises KeeprateError where Ray is not installed, and for numbers that are not positive.
    """

    name: ClassVar[str] = "ray"
    is_parallel: ClassVar[bool] = True

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        cpus: float = 1.0,
        gpus: float | None = None,
        shard_seconds: float = 60.0,
        shard_images: int | None = None,
        attempts: int = 3,
    ) -> None:
        self.address = address
        self.workers = workers
        self.cpus = cpus
        self.gpus = gpus
        self.shard_seconds = shard_seconds
        self.shard_images = shard_images
        self.attempts = attempts
        self._refuse()
        self._flag: Any = None
        self._is_ours = False

    def run(self, tasks: Sequence[Task], sink: RowSink) -> None:
        """Compute all tasks, shard by shard, on as many workers as there are.

        Raises KeeprateError for a cluster that cannot be used, for tasks that cannot be sent to
        workers, and for a machine that cannot make the same comparison.
        """
        from .ray_dispatch import Dispatch
        from .shards import Cutter

        # before a cluster is started for nothing
        for task in tasks:
            task.check_portable()
        self._connect()
        loop = tasks[0].loop
        pool = self._worker_pool(loop, sink)
        placed = [task.within(self.cpus, pool.gpus) for task in tasks]
        cutter = Cutter(placed, loop.batch_size, self.shard_seconds, self.shard_images)
        Dispatch(cutter, sink, pool).run()

    def close(self) -> None:
        """Leave the cluster; a cluster that was started for the study ends."""
        self._flag = None
        if self._is_ours:
            from .ray_cluster import disconnect

            disconnect()
            self._is_ours = False

    def _refuse(self) -> None:
        for name in ("workers", "cpus", "shard_seconds", "shard_images", "attempts"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise KeeprateError(f"{name} must be over 0, not {value}.")
        if self.gpus is not None and (self.gpus < 0 or (self.gpus > 1 and self.gpus % 1)):
            raise KeeprateError(f"gpus must be a share of one or whole ones, not {self.gpus}.")
        # looked up, not imported: importing Ray takes seconds, and it is not yet needed
        if find_spec("ray") is None:
            raise KeeprateError("Ray is not installed: pip install 'keeprate[ray]'.")

    def _connect(self) -> None:
        import ray

        from .ray_cluster import connect
        from .ray_stop import StopFlag

        if self._flag is not None:
            return
        # a local cluster of just the size that the workers need
        cpus = None if self.workers is None else math.ceil(self.workers * self.cpus)
        self._is_ours = connect(self.address, cpus)
        # no processor of its own, so that it finds room beside workers that take all
        self._flag = ray.remote(num_cpus=0, max_restarts=-1)(StopFlag).remote()

    def _worker_pool(self, loop: LoopOptions, sink: RowSink) -> WorkerPool:
        from .ray_cluster import room
        from .ray_dispatch import WorkerPool

        gpus = self._gpus(loop.accelerator)
        waiting_notes: list[str] = []

        def size() -> int:
            num_places = room(self.cpus, gpus)
            # noted once: the size is asked for twice a second
            if not num_places and not waiting_notes:
                waiting_notes.append(self._no_room(gpus))
                sink.listen(Note(waiting_notes[0]))
            # one shard is handed out even without room: Ray starts it as soon as there is
            return max(1, min(num_places, self.workers or num_places))

        return WorkerPool(self.cpus, gpus, self.attempts, size, self._flag)

    def _no_room(self, gpus: float) -> str:
        """Say that no machine is large enough now; raise KeeprateError if none ever will be."""
        resources = f"{self.cpus:g} processors and {gpus:g} GPUs"
        if self.address is None:
            raise KeeprateError(
                f"This machine has no {resources} for a worker: lower cpus or gpus."
            )
        return f"No machine of the cluster has {resources} for a worker: waiting for one."

    def _gpus(self, accelerator: str) -> float:
        """Return the GPUs of a worker; if not given, one where the runs go to GPUs, else none."""
        from .ray_cluster import has_gpus

        if self.gpus is not None:
            return self.gpus
        uses_gpu = accelerator in ("gpu", "cuda") or (accelerator == "auto" and has_gpus())
        return float(uses_gpu)
