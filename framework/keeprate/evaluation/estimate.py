"""Estimates what runs will cost: multiply-accumulates, images and, roughly, seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .._devices import device_of
from ..backbones.loading.load import load_model
from ..backbones.loading.loaded import LoadedModel
from ..data.named import build_data
from ..dataset import DataSet
from ..reduction.macs import count
from ..reduction.proof import require_proof
from ..reduction.reduced_model import ReducedModel
from ..reduction.shared_forward import shared_macs
from ..request import ModelSpec, Request
from ..study.build import build_model, build_run, fitting
from ..study.comparison import Comparison
from .tasks import tasks_of
from .throughput import measure_throughput

_MOST_DECODED = 16
"""Images that are decoded to measure how long one takes: enough for a rough mean."""
_CPU_MACS = 40e9
"""Multiply-accumulates of the batch that times a processor: this takes about a second."""


@dataclass(frozen=True)
class Speed:
    """What a calibration measured: `macs_per_second` of the unpruned model on `device`.

    `seconds_per_image` is the time that one process takes to decode and prepare an image.
    """

    macs_per_second: float
    seconds_per_image: float
    device: str


@dataclass(frozen=True)
class Work:
    """An amount of work: images read, multiply-accumulates, and about how many seconds."""

    images: int
    macs: int
    seconds: float


@dataclass(frozen=True)
class Estimate:
    """The work of a comparison: with each run by itself, and in passes that runs share."""

    apart: Work
    shared: Work
    speed: Speed


def without_weights(request: Request) -> Comparison:
    """Prepare a request like a real run, but download no weights and keep no decoded images.

    Weights that are not in a local file are random, which does not change the cost. Raises
    KeeprateError as `study.build.prepare` does.
    """
    data = build_data(request.data)
    loaded = _without_download(request.model, data)
    methods = [build_run(spec, request.options.seed) for spec in request.runs]
    if request.only_fitting:
        methods = fitting(methods, loaded, data, request.options.calibration)
    options = replace(request.options, cache_decoded=None)
    comparison = Comparison(loaded, data, methods, options)
    require_proof(comparison.backbone)
    return comparison


def calibrate(comparison: Comparison, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Time the decoding of a few images, and a few batches of the unpruned model on random ones."""
    samples, loop = comparison.samples, comparison.options.loop
    _ = samples[0]  # the first access also reads what is then kept: that is not timed
    positions = range(min(len(samples), _MOST_DECODED))
    started = clock()
    for position in positions:
        _ = samples[position]
    seconds = (clock() - started) / len(positions)
    macs = count(comparison.backbone, comparison.backbone.image_size).total
    # a whole batch takes a processor too long; a GPU reaches its speed only with one
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
    """Return the work of all runs of a comparison, on a machine of this speed."""
    jobs = comparison.jobs
    tasks = tasks_of(comparison, {job.id: frozenset() for job in jobs})
    passes = [[job.model for job in jobs if job.id in task.ids] for task in tasks]
    return Estimate(
        apart=_work(comparison, [[job.model] for job in jobs], speed),
        shared=_work(comparison, passes, speed),
        speed=speed,
    )


def macs_per_image(comparison: Comparison, models: Sequence[ReducedModel]) -> int:
    """Return the mean cost of one image, or of one text, when `models` share its pass."""
    return round(comparison.prepared.mean(lambda size: shared_macs(models, size)))


def _work(comparison: Comparison, passes: Sequence[Sequence[ReducedModel]], speed: Speed) -> Work:
    images = len(comparison.samples) * len(passes)
    macs = sum(macs_per_image(comparison, models) for models in passes) * len(comparison.samples)
    computing = macs / speed.macs_per_second
    reading = images * speed.seconds_per_image
    workers = comparison.options.loop.workers
    # workers decode while the model computes; without any, the process does one after the other
    seconds = max(computing, reading / workers) if workers else computing + reading
    return Work(images, macs, seconds)


def _without_download(spec: ModelSpec, data: DataSet) -> LoadedModel:
    if spec.name is None or spec.weights is not None:
        return build_model(spec, data)
    return load_model(spec.name, pretrained=False, image_size=spec.image_size)
