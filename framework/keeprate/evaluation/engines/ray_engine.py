"""Passes by Ray: on the processors and GPUs of this machine, or of a cluster."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ...engine import Engine, RowSink, Task
from ...errors import KeeprateError
from ...plugins.discovery import VARIABLE
from ...request import LoopOptions, Request
from ..events import Note

if TYPE_CHECKING:
    from ...study.comparison import Comparison
    from .ray_dispatch import WorkerPool
    from .remote_worker import WorkerRequest


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

    def run(self, comparison: Comparison, tasks: Sequence[Task], sink: RowSink) -> None:
        """Compute all tasks, shard by shard, on as many workers as there are.

        Raises KeeprateError for a cluster that cannot be used, for a comparison that was made from
        objects instead of names, and for a machine that cannot make the same comparison.
        """
        from ..._devices import device_name, device_of
        from .ray_dispatch import Dispatch
        from .shards import Cutter

        request, loop = self._request(comparison), comparison.options.loop
        self._connect()
        pool = self._worker_pool(loop, sink)
        worker_request = _worker_request(
            comparison, request, self._loop(loop, pool.gpus), max(1, int(self.cpus))
        )
        cutter = Cutter(tasks, loop.batch_size, self.shard_seconds, self.shard_images)
        here = device_name(device_of(loop.accelerator))
        Dispatch(comparison, cutter, sink, pool, here).run(worker_request)

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

    def _request(self, comparison: Comparison) -> Request:
        """Return the request from which workers make the comparison again, or refuse."""
        if comparison.request is None:
            raise KeeprateError(
                "Workers make the comparison again by name, and this one was made of objects: "
                "describe it as a Request, or leave the engine out."
            )
        if comparison.options.loop.devices != 1:
            raise KeeprateError(
                f"Engine '{self.name}' gives each worker its share of the devices: leave --devices "
                "out, and say workers and gpus."
            )
        return comparison.request

    def _connect(self) -> None:
        import ray

        from .ray_cluster import connect
        from .remote_worker import StopFlag

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

    def _loop(self, loop: LoopOptions, gpus: float) -> LoopOptions:
        """Return the loop options of a worker: they stay within its share of the machine."""
        # "auto" would take a GPU that belongs to others
        on_cpu = loop.accelerator == "auto" and not gpus
        return replace(
            loop,
            # the worker itself takes one of its processors
            workers=min(loop.workers, max(0, int(self.cpus) - 1)),
            accelerator="cpu" if on_cpu else loop.accelerator,
        )


def _worker_request(
    comparison: Comparison, request: Request, loop: LoopOptions, threads: int
) -> WorkerRequest:
    """Describe a comparison so that a worker can make it again."""
    from ...plugins.registry import registry
    from ...results.environment import versions
    from .remote_worker import WorkerRequest

    # the origin of a plugin from a file is its path, that of others is a package
    paths = [Path(plugin.origin) for plugin in registry().plugins]
    return WorkerRequest(
        request=request,
        loop=loop,
        jobs=tuple(job.info for job in comparison.jobs),
        bad=comparison.skipped,
        versions=versions(),
        limits=os.environ.get(VARIABLE),
        files=tuple(path for path in paths if path.is_absolute()),
        folder=Path.cwd(),
        threads=threads,
    )
