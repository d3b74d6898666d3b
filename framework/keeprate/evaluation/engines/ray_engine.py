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
    is started here and ends with the study. `workers` are at most at work at a time, by default as
    many as there is room for; each has `cpus` processors and `gpus` GPUs, of which it may be a
    share: by default a whole one where the runs go to GPUs. A worker is given about `shard_seconds`
    of work at a time, or `shard_images` images, in whole batches. What is lost with a worker is
    given to others until `attempts` have failed.

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
        """Take every task's runs over its samples, shard by shard, on as many workers as there are.

        Raises KeeprateError for a cluster that cannot be used, for a comparison that was not asked
        for by name, and for a machine that cannot make the same comparison.
        """
        from ..._devices import device_name, device_of
        from .ray_dispatch import Dispatch
        from .shards import Cutter

        request, loop = self._asked(comparison), comparison.options.loop
        self._connect()
        crew = self._crew(loop, sink)
        order = _order(comparison, request, self._loop(loop, crew.gpus), max(1, int(self.cpus)))
        cutter = Cutter(tasks, loop.batch_size, self.shard_seconds, self.shard_images)
        here = device_name(device_of(loop.accelerator))
        Dispatch(comparison, cutter, sink, crew, here).run(order)

    def close(self) -> None:
        """Leave the cluster; one that was started for the study ends."""
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
        if find_spec("ray") is None:
            raise KeeprateError("Ray is not installed: pip install 'keeprate[ray]'.")

    def _asked(self, comparison: Comparison) -> Request:
        """Return what a worker makes the comparison of."""
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
        cpus = None if self.workers is None else math.ceil(self.workers * self.cpus)
        self._is_ours = connect(self.address, cpus)
        self._flag = ray.remote(num_cpus=0, max_restarts=-1)(StopFlag).remote()

    def _crew(self, loop: LoopOptions, sink: RowSink) -> WorkerPool:
        from .ray_cluster import room
        from .ray_dispatch import WorkerPool

        gpus = self._gpus(loop.accelerator)
        told: list[str] = []

        def size() -> int:
            there = room(self.cpus, gpus)
            if not there and not told:
                told.append(self._no_room(gpus))
                sink.listen(Note(told[0]))
            return max(1, min(there, self.workers or there))

        return WorkerPool(self.cpus, gpus, self.attempts, size, self._flag)

    def _no_room(self, gpus: float) -> str:
        """Say that no machine is large enough now; raise KeeprateError if none will ever be."""
        wanted = f"{self.cpus:g} processors and {gpus:g} GPUs"
        if self.address is None:
            raise KeeprateError(f"This machine has no {wanted} for a worker: lower cpus or gpus.")
        return f"No machine of the cluster has {wanted} for a worker: waiting for one."

    def _gpus(self, accelerator: str) -> float:
        """Return the GPUs of a worker: whole ones where the runs go to GPUs, if none are named."""
        from .ray_cluster import has_gpus

        if self.gpus is not None:
            return self.gpus
        wanted = accelerator in ("gpu", "cuda") or (accelerator == "auto" and has_gpus())
        return float(wanted)

    def _loop(self, loop: LoopOptions, gpus: float) -> LoopOptions:
        """Return how a worker runs the loop: within its share of the machine, on one device."""
        on_cpu = loop.accelerator == "auto" and not gpus
        return replace(
            loop,
            workers=min(loop.workers, max(0, int(self.cpus) - 1)),
            accelerator="cpu" if on_cpu else loop.accelerator,
        )


def _order(
    comparison: Comparison, request: Request, loop: LoopOptions, threads: int
) -> WorkerRequest:
    """Describe a comparison so that a worker can make it again."""
    from ...plugins.registry import registry
    from ...results.environment import versions
    from .remote_worker import WorkerRequest

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
