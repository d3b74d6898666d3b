"""What runs will cost before they run: multiply-accumulates, images, and roughly the time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .._devices import device_of
from ..backbones.loading.load import load_model
from ..backbones.loading.loaded import LoadedModel
from ..backbones.lookup import adapt
from ..dataset import DataSet
from ..reduction.macs import count
from ..reduction.plan import suits
from ..reduction.proof import require_proof
from ..reduction.reduced_model import ReducedModel
from ..reduction.shared_forward import shared_macs
from ..request import ModelSpec, Request
from ..study.build import build_data, build_model, build_run
from ..study.comparison import Comparison
from .tasks import tasks_of
from .throughput import measure_throughput

_MOST_DECODED = 16
_CPU_MACS = 40e9
"""Multiply-accumulates of a batch that a processor is timed on: a second or so."""


@dataclass(frozen=True)
class Speed:
    """What a calibration found: `macs_per_second` of the unpruned model on `device`.

    `seconds_per_image` is what one process takes to decode and prepare an image.
    """

    macs_per_second: float
    seconds_per_image: float
    device: str


@dataclass(frozen=True)
class Work:
    """What has to be done: images read, multiply-accumulates, and about how many seconds."""

    images: int
    macs: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The work of a comparison, each run by itself and in passes that several runs share."""

    apart: Work
    shared: Work
    speed: Speed


def without_weights(request: Request) -> Comparison:
    """Prepare a request as for running it, but download no weights and keep no decoded images.

    Weights that are no local file are random: they change no cost. Raises KeeprateError as
    `fulfil.prepare` does.
    """
    data = build_data(request.data)
    loaded = _without_download(request.model, data)
    wanted = [build_run(spec, request.options.seed) for spec in request.runs]
    if request.only_fitting:
        backbone = adapt(loaded.model)
        wanted = [each for each in wanted if suits(backbone, each.method)]
    options = replace(request.options, cache_decoded=None)
    comparison = Comparison(loaded, data, wanted, options)
    require_proof(comparison.backbone)
    return comparison


def calibrate(comparison: Comparison, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Decode a few images, and run a few batches of the unpruned model on random ones."""
    samples, loop = comparison.samples, comparison.options.loop
    _ = samples[0]  # what is read once and kept
    positions = range(min(len(samples), _MOST_DECODED))
    started = clock()
    for position in positions:
        _ = samples[position]
    seconds = (clock() - started) / len(positions)
    macs = count(comparison.backbone, comparison.backbone.image_size).total
    on_cpu = device_of(loop.accelerator).type == "cpu"
    speed = measure_throughput(
        comparison.unpruned.model,
        precision=loop.precision,
        accelerator=loop.accelerator,
        batch_size=min(loop.batch_size, max(2, int(_CPU_MACS / macs)))
        if on_cpu
        else loop.batch_size,
        rounds=3,
    )
    return Speed(speed.unpruned_images_per_second * macs, seconds, speed.device)


def estimate_cost(comparison: Comparison, speed: Speed) -> Estimate:
    """Return what all runs of a comparison cost, at a speed."""
    jobs, images = comparison.jobs, len(comparison.samples)
    nothing_done: dict[str, frozenset[int]] = {job.id: frozenset() for job in jobs}
    tasks = tasks_of(nothing_done, images, comparison.options.runs_per_pass, comparison.unpruned.id)
    passes = [[job.model for job in jobs if job.id in task.ids] for task in tasks]
    return Estimate(
        apart=_work(comparison, [[job.model] for job in jobs], speed),
        shared=_work(comparison, passes, speed),
        speed=speed,
    )


def macs_per_image(comparison: Comparison, models: Sequence[ReducedModel]) -> int:
    """Return what one image costs in the mean when `models` go over it together.

    Texts are counted at their longest and scaled as the unpruned model's cost is.
    """
    longest = count(comparison.backbone, comparison.backbone.image_size).total
    return round(shared_macs(models) * comparison.unpruned_macs() / longest)


def _work(comparison: Comparison, passes: Sequence[Sequence[ReducedModel]], speed: Speed) -> Work:
    images = len(comparison.samples) * len(passes)
    macs = sum(macs_per_image(comparison, each) for each in passes) * len(comparison.samples)
    computing = macs / speed.macs_per_second
    reading = images * speed.seconds_per_image
    workers = comparison.options.loop.workers
    together = max(computing, reading / workers) if workers else computing + reading
    return Work(images, macs, together)


def _without_download(spec: ModelSpec, data: DataSet) -> LoadedModel:
    if spec.name is None or spec.weights is not None:
        return build_model(spec, data)
    return load_model(spec.name, pretrained=False, image_size=spec.image_size)
