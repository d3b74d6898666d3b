"""Measures how fast reduced models run beside the unpruned one, apart from accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from .._devices import device_name
from ..reduction.reduced_model import ReducedModel
from ..results.measured import Throughput
from .speed import SpeedUp, measure_speed
from .timing import Rounds, Treatment, Watcher

MOST_SECONDS: Final = 30.0
"""Time for the speeds of all runs of a pass, unless three rounds take longer."""


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

    A round is one turn of each, on random inputs; the first one warms up and does not count. The
    ratio is the median over rounds of (plain seconds / reduced seconds). At least three rounds
    count, and then as many of `rounds` as fit into `most_seconds` for all models together. The
    list is empty if `watch` ended it before that.
    """
    if not models:
        return []
    treatment = Treatment(precision, accelerator, batch_size)
    asked = Rounds(min(Rounds.least, rounds), rounds, most_seconds)
    by_place = {str(place): model for place, model in enumerate(models)}
    found = measure_speed(by_place, treatment, asked, floors=False, watch=watch)
    for speed_up in found.values():
        if speed_up.error is not None:
            raise speed_up.error
    return [_throughput(speed_up, treatment) for speed_up in found.values()]


def speed_unknown(count: int) -> str:
    """Say of how many finished runs the speed is not known, and what measures it."""
    runs = f"{count:,} finished {'run' if count == 1 else 'runs'}"
    return f"No speed is known of {runs}: with --force it is measured."


def _throughput(speed_up: SpeedUp, treatment: Treatment) -> Throughput:
    return Throughput(
        images_per_second=speed_up.reduced.images_per_second,
        unpruned_images_per_second=speed_up.unpruned.images_per_second,
        ratio=speed_up.ratio,
        device=device_name(treatment.device),
        precision=treatment.precision,
        batch_size=treatment.batch_size,
        rounds=len(speed_up.ratios),
        ratios=speed_up.ratios,
    )
