"""Measures how fast a reduced model runs beside the unpruned one, apart from accuracy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch

from .._devices import device_name, device_of
from ..backbone import Inputs
from ..reduction.reduced_model import ReducedModel
from ..results.records import Throughput

DTYPES = {"32": torch.float32, "64": torch.float64, "16": torch.float16, "bf16": torch.bfloat16}


def measure_throughput(
    reduced: ReducedModel,
    *,
    precision: str = "32-true",
    accelerator: str = "auto",
    batch_size: int = 64,
    rounds: int = 5,
    most_seconds: float = 20.0,
) -> Throughput:
    """Time forward passes of `reduced` and of its own plain model in turns, on random inputs.

    After one warm-up batch each, both run one batch per round. The ratio is the median over rounds
    of (plain seconds / reduced seconds). At least three rounds are timed, and then as many of
    `rounds` as fit into `most_seconds`.
    """
    device = device_of(accelerator)
    kind, _, mode = precision.partition("-")
    # with mixed precision the weights stay in float32, and autocast chooses for each operation
    weights_dtype = torch.float32 if mode == "mixed" else DTYPES[kind]
    reduced.eval().to(device=device, dtype=weights_dtype)
    inputs = reduced.backbone.example(batch_size)
    mixed = torch.autocast(device.type, DTYPES[kind]) if mode == "mixed" else nullcontext()
    # in turns, so that a machine whose speed drifts slows both
    plain_seconds, reduced_seconds = _in_turns(
        _timed(reduced.backbone.plain, inputs, device, mixed),
        _timed(reduced, inputs, device, mixed),
        rounds,
        most_seconds,
    )
    ratios = [
        unpruned / pruned for unpruned, pruned in zip(plain_seconds, reduced_seconds, strict=True)
    ]
    return Throughput(
        images_per_second=batch_size / statistics.median(reduced_seconds),
        unpruned_images_per_second=batch_size / statistics.median(plain_seconds),
        ratio=statistics.median(ratios),
        device=device_name(device),
        precision=precision,
        batch_size=batch_size,
        rounds=len(ratios),
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
    a: Callable[[], float], b: Callable[[], float], rounds: int, most_seconds: float
) -> tuple[list[float], list[float]]:
    """Call two timers in turns, and return the seconds of each."""
    a(), b()  # the first calls choose kernels and allocate memory: not counted
    started, a_seconds, b_seconds = time.perf_counter(), [], []
    for round_number in range(rounds):
        # fewer than three rounds have no median worth the name
        if round_number >= 3 and time.perf_counter() - started > most_seconds:
            break
        a_seconds.append(a())
        b_seconds.append(b())
    return a_seconds, b_seconds
