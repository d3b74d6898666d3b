"""Measures how fast reduced models run beside the unpruned one, apart from accuracy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeAlias

import torch
from torch import nn

from .._devices import device_name, device_of
from ..backbone import Backbone, Inputs
from ..reduction.reduced_model import ReducedModel
from ..results.records import Throughput

DTYPES = {"32": torch.float32, "64": torch.float64, "16": torch.float16, "bf16": torch.bfloat16}
MOST_SECONDS: Final = 30.0
"""Time for the speeds of all runs of a pass, unless three rounds take longer."""
_LEAST_ROUNDS: Final = 3
"""Fewer rounds have no median worth the name."""

Watcher: TypeAlias = Callable[[int, float], bool]
"""Told before each batch whose turn it is (0: the plain model's) and what share of the time is
over; returns whether to go on."""


def measure_throughput(reduced: ReducedModel, **how: Any) -> Throughput:
    """Time one reduced model beside its plain one; `how` is as for `measure_together`."""
    (throughput,) = measure_together([reduced], **how)
    return throughput


def measure_together(
    models: Sequence[ReducedModel],
    *,
    precision: str = "32-true",
    accelerator: str = "auto",
    batch_size: int = 64,
    rounds: int = 12,
    most_seconds: float = MOST_SECONDS,
    watch: Watcher = lambda turn, share: True,
) -> list[Throughput]:
    """Time forward passes of reduced models of one model and of the plain model, in turns.

    A round is one batch of each, on random inputs; the first one warms up and does not count. The
    ratio is the median over rounds of (plain seconds / reduced seconds). At least three rounds
    count, and then as many of `rounds` as fit into `most_seconds` for all models together. The
    list is empty if `watch` ended it before that.
    """
    if not models:
        return []
    plain = models[0].plan.own
    device, _, mixed = placed([plain.model, *models], precision, accelerator)
    # images of the size that each sees: making them smaller is part of preparing them
    examples = {
        backbone.image_size: backbone.example(batch_size) for backbone in _backbones(models)
    }
    turns: list[tuple[Callable[[Inputs], object], Backbone]] = [(plain.plain, plain)]
    turns += [(reduced, reduced.backbone) for reduced in models]
    timers = [
        _timed(model, examples[backbone.image_size], device, mixed) for model, backbone in turns
    ]
    counted = _in_turns(timers, rounds, most_seconds, watch)
    if len(counted) < min(_LEAST_ROUNDS, rounds):
        return []
    plain_seconds, *all_seconds = zip(*counted, strict=True)
    return [
        _throughput(plain_seconds, seconds, device_name(device), precision, batch_size)
        for seconds in all_seconds
    ]


def placed(
    models: Sequence[nn.Module], precision: str, accelerator: str
) -> tuple[torch.device, torch.dtype, AbstractContextManager[object]]:
    """Put models where they run, in eval mode, in a precision.

    Returns the device, the dtype of the weights, and the context to call them in.
    """
    device = device_of(accelerator)
    kind, _, mode = precision.partition("-")
    # with mixed precision the weights stay in float32, and autocast chooses for each operation
    weights_dtype = torch.float32 if mode == "mixed" else DTYPES[kind]
    for model in models:
        model.eval().to(device=device, dtype=weights_dtype)
    mixed = torch.autocast(device.type, DTYPES[kind]) if mode == "mixed" else nullcontext()
    return device, weights_dtype, mixed


def _backbones(models: Sequence[ReducedModel]) -> list[Backbone]:
    return [models[0].plan.own, *(model.backbone for model in models)]


def speed_unknown(count: int) -> str:
    """Say of how many finished runs the speed is not known, and what measures it."""
    runs = f"{count:,} finished {'run' if count == 1 else 'runs'}"
    return f"No speed is known of {runs}: with --force it is measured."


def _throughput(
    plain_seconds: Sequence[float],
    reduced_seconds: Sequence[float],
    device: str,
    precision: str,
    batch_size: int,
) -> Throughput:
    ratios = [
        unpruned / pruned for unpruned, pruned in zip(plain_seconds, reduced_seconds, strict=True)
    ]
    return Throughput(
        images_per_second=batch_size / statistics.median(reduced_seconds),
        unpruned_images_per_second=batch_size / statistics.median(plain_seconds),
        ratio=statistics.median(ratios),
        device=device,
        precision=precision,
        batch_size=batch_size,
        rounds=len(ratios),
        ratios=tuple(ratios),
    )


def _timed(
    model: Callable[[Inputs], object],
    inputs: Inputs,
    device: torch.device,
    mixed: AbstractContextManager[object],
) -> Callable[[], float]:
    def run() -> float:
        started = time.perf_counter()
        with torch.inference_mode(), mixed:
            model(inputs)
        # a GPU computes on after the call has returned
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return run


def _in_turns(
    timers: Sequence[Callable[[], float]],
    rounds: int,
    most_seconds: float,
    watch: Watcher,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Call timers in turns; return the seconds of each in every round that counts.

    Every other round goes backwards, so that a machine that slows down steadily favours none.
    """
    started, counted = clock(), list[list[float]]()
    # the first calls choose kernels and allocate memory: round 0 is not counted
    for number in range(rounds + 1):
        spent = clock() - started
        if number > _LEAST_ROUNDS and spent + spent / number > most_seconds:
            break
        turns = range(len(timers))
        seconds = dict.fromkeys(turns, 0.0)
        for place, turn in enumerate(reversed(turns) if number % 2 else turns):
            over = number + place / len(timers)
            in_time = min((clock() - started) / most_seconds, over / (_LEAST_ROUNDS + 1), 1.0)
            if not watch(turn, max(in_time, over / (rounds + 1))):
                return counted
            seconds[turn] = timers[turn]()
        if number:
            counted.append(list(seconds.values()))
    return counted
