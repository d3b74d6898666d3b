"""Measures how fast reduced models run beside the unpruned one, and beside what counts allow."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from traceback import clear_frames
from typing import Final

from ..analysis.statistics.medians import median_interval
from ..backbone import Backbone, Inputs
from ..method import Method
from ..reduction.calibration import calibrate
from ..reduction.floor import floor_of
from ..reduction.macs import count
from ..reduction.plan import make_plan
from ..reduction.proof import require_proof
from ..reduction.reduced_model import ReducedModel
from .timing import Contender, Rounds, Treatment, Watcher, fill_turns, in_turns

_CALIBRATED: Final = 8
"""Random images on which the budgets of methods are solved that keep other numbers in each."""


@dataclass(frozen=True)
class ModelSpeed:
    """How fast one model runs: the `seconds` of a batch in every round.

    `macs` are the mean multiply-accumulates per image of that batch, overhead included.
    `peak_bytes` is the most memory of a forward pass on a GPU, beside weights and inputs; None
    elsewhere. `error` is the exception of a model that does not run, whose figures mean nothing.
    """

    seconds: tuple[float, ...]
    batch_size: int
    macs: float
    peak_bytes: int | None = None
    error: Exception | None = None

    @property
    def images_per_second(self) -> float:
        """Images per second, by the median round."""
        return self.batch_size / statistics.median(self.seconds)

    def milliseconds(self, share: float) -> float:
        """Return the milliseconds within which this share of the batches was done."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[max(0, ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class SpeedUp:
    """A reduced model's speed beside the `unpruned` model's, round by round, and its `floor`'s.

    The floor has the same numbers of tokens, chosen without a look at any; None where there is no
    such model.
    """

    reduced: ModelSpeed
    unpruned: ModelSpeed
    floor: ModelSpeed | None = None

    @property
    def error(self) -> Exception | None:
        """What keeps the figures from being known."""
        return self.reduced.error or self.unpruned.error

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as fast it is as the unpruned model, in every round."""
        return _ratios(self.unpruned, self.reduced)

    @property
    def ratio(self) -> float:
        """How many times as fast it is: the median over rounds."""
        return statistics.median(self.ratios)

    @property
    def floor_ratio(self) -> float | None:
        """How many times as fast the floor is, None where it does not run."""
        if self.floor is None or self.floor.error is not None:
            return None
        return statistics.median(_ratios(self.unpruned, self.floor))

    @property
    def promised(self) -> float:
        """How many times as fast it would be if time went by multiply-accumulates."""
        return self.unpruned.macs / self.reduced.macs

    @property
    def fraction(self) -> float:
        """The part of the promise that is kept."""
        return self.ratio / self.promised

    def fraction_interval(self, level: float = 0.95) -> tuple[float, float] | None:
        """Return an interval of the fraction at `level`, None of too few rounds for it."""
        ends = median_interval(self.ratios, level)
        return ends and (ends[0] / self.promised, ends[1] / self.promised)


class _Lane:
    """One model of a measurement: the contender that is timed, or the error for which none is."""

    def __init__(
        self, backbone: Backbone, run: Callable[[Inputs], object], macs: Callable[[], float]
    ) -> None:
        self.backbone, self.run, self.macs = backbone, run, macs
        self.contender: Contender | None = None
        self.error: Exception | None = None
        self.counted: tuple[float, ...] = ()

    def prepare(self, inputs: Inputs, treatment: Treatment) -> None:
        """Compile or capture the model, if that is asked for; keep its error."""
        try:
            self.contender = Contender(self.run, inputs, treatment)
        except Exception as error:
            self._fail(error)

    def seconds(self) -> float:
        """Return the seconds of a batch, 0 for a model that failed."""
        if self.contender is None or self.error is not None:
            return 0.0
        try:
            return self.contender.seconds()
        except Exception as error:
            self._fail(error)
            return 0.0

    def _fail(self, error: Exception) -> None:
        self.error = error
        # what it holds on to may be the memory that was lacking
        clear_frames(error.__traceback__)

    def speed(self, batch_size: int) -> ModelSpeed:
        """Return what the rounds found."""
        peak = None if self.contender is None else self.contender.peak_bytes
        macs = self.macs() if self.error is None else 0.0
        return ModelSpeed(self.counted, batch_size, macs, peak, self.error)


def measure_speed(
    models: Mapping[str, ReducedModel],
    treatment: Treatment,
    rounds: Rounds,
    *,
    floors: bool = True,
    watch: Watcher = lambda turn, share: True,
) -> dict[str, SpeedUp]:
    """Time reduced models of one model, their floors and the plain model, in turns, all alike.

    They run on random inputs of the size that each sees: making images smaller is part of preparing
    them. A model that fails is left out of the rounds, and its error is in the result. The result
    is empty if `watch` ended the measurement before the fewest rounds.
    """
    own = next(iter(models.values())).plan.own
    inputs = _inputs([own, *(model.backbone for model in models.values())], treatment)
    plain = _Lane(own, own.plain, partial(_plain_macs, own, inputs[own.image_size]))
    reduced = {name: _lane_of(model, inputs) for name, model in models.items()}
    beside = _floors(models, inputs) if floors else {}
    lanes = [plain, *reduced.values(), *dict.fromkeys(beside.values())]
    for turn, lane in enumerate(lanes):
        if not watch(turn, 0.0):
            return {}
        lane.prepare(inputs[lane.backbone.image_size], treatment)
    fill_turns([lane.contender for lane in lanes if lane.contender], treatment.batch_size)
    counted = in_turns([lane.seconds for lane in lanes], rounds, watch)
    if len(counted) < rounds.least:
        return {}
    for lane, seconds in zip(lanes, zip(*counted, strict=True), strict=True):
        lane.counted = seconds
    speeds = {lane: lane.speed(treatment.batch_size) for lane in lanes}
    return {
        name: SpeedUp(speeds[lane], speeds[plain], speeds[beside[name]] if name in beside else None)
        for name, lane in reduced.items()
    }


def _inputs(backbones: Sequence[Backbone], treatment: Treatment) -> dict[tuple[int, int], Inputs]:
    """Put the models where they are timed; return a batch for each size that they see."""
    treatment.place(backbone.model for backbone in backbones)
    return {backbone.image_size: backbone.example(treatment.batch_size) for backbone in backbones}


def _lane_of(model: ReducedModel, inputs: Mapping[tuple[int, int], Inputs]) -> _Lane:
    size = model.backbone.input_size(inputs[model.backbone.image_size])
    return _Lane(model.backbone, model, partial(_macs, model, size))


def _macs(model: ReducedModel, image_size: tuple[int, int]) -> float:
    if model.method.keeps_per_image:  # known once images have run
        return float(model.macs_per_image.total.double().mean())
    return float(model.costs(image_size).total)


def _plain_macs(backbone: Backbone, inputs: Inputs) -> float:
    return float(count(backbone, backbone.input_size(inputs)).total)


def _floors(
    models: Mapping[str, ReducedModel], inputs: Mapping[tuple[int, int], Inputs]
) -> dict[str, _Lane]:
    """Return the floor of each model that has one; models with the same counts share it."""
    lanes: dict[object, _Lane] = {}
    found = {}
    for name, model in models.items():
        size = model.backbone.input_size(inputs[model.backbone.image_size])
        floor = floor_of(model, size)
        if floor is not None:
            stages = (floor.backbone.image_size, floor.method.place, floor.plan.stages(size))
            found[name] = lanes.setdefault(stages, _lane_of(floor, inputs))
    return found


def _ratios(unpruned: ModelSpeed, other: ModelSpeed) -> tuple[float, ...]:
    return tuple(a / b for a, b in zip(unpruned.seconds, other.seconds, strict=True))


def reduced_by(
    backbone: Backbone, method: Method, schedule: str | None, budget: str | float | None
) -> ReducedModel:
    """Return a reduced model that shares the weights of `backbone`, for measurements side by side.

    A budget that can be solved only on images is solved on random ones. Raises KeeprateError as
    `keeprate.reduce` does.
    """
    plan = make_plan(backbone, method, schedule, budget)
    require_proof(plan.backbone)
    # a look at values would wait for the device at the end of each call, or of each graph
    reduced = ReducedModel(plan.backbone, plan, check_values=False)
    if plan.awaits_calibration:
        calibrate(reduced, [(plan.backbone.example(_CALIBRATED), None)])
    return reduced
