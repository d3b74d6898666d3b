"""What methods do to an image, stage by stage: survivors, importance and prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..attention import Attention
from ..data.samples import ImageSamples
from ..errors import KeeprateError
from ..method import Method, Stage
from ..reduction.calibration import calibrate
from ..reduction.macs import count
from ..reduction.plan import Plan, make_plan
from ..reduction.proof import require_proof
from ..reduction.reduced_model import ReducedModel
from ..request import CalibrationSpec
from ..study.calibration import calibration_data, draw_sample
from ..study.comparison import MethodAtCost
from ..tokens import Tokens, at_least_float32
from .class_names import class_names
from .colours import Owners
from .image_selection import ImageSource, SelectedImage, grid_of, on_grid
from .patch_pictures import Importance, Pixels


@dataclass(frozen=True)
class Prediction:
    """A class by name, and the model's `confidence` in it, 0 to 1; `index` is its number."""

    name: str
    confidence: float
    index: int = -1


@dataclass(frozen=True)
class StageTrace:
    """One stage: the `owners` after it, and the `importance` before it if the method has one.

    If `came_back`, it is no stage: tokens that were set aside were among the others again.
    """

    block: int
    owners: Owners
    importance: Importance | None
    came_back: bool = False


@dataclass(frozen=True)
class MethodTrace:
    """What one method did to an image: its stages, the prediction and the cost.

    `grid` are rows and columns of patches where the method made the input smaller, else None.
    """

    label: str
    moments: tuple[StageTrace, ...]
    prediction: Prediction
    macs: int
    macs_share: float
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class ImageTrace:
    """An image as the model sees it, the unpruned model's prediction and the trace of each method.

    `label` is the name of its class (None: not known); `grid` are rows and columns of patches.
    """

    title: str
    label: str | None
    crop: Pixels
    grid: tuple[int, int]
    before: Prediction
    tracks: tuple[MethodTrace, ...]


@dataclass(frozen=True)
class Reductions:
    """What one method did to B images: their patches' `owners` at the end (B, P).

    `scores` (B, P) are those of its first stage, None of a method that has none.
    """

    owners: Tensor
    scores: Tensor | None


class TokenTracer:
    """Runs several methods, by label, on single images or a few and records what they do.

    Each method comes with a cost, or as a plan that is ready. Make the tracer after the images are
    picked, because costs depend on their size. Raises KeeprateError for methods, schedules and
    budgets that do not fit, and for a model whose patches are not known.
    """

    def __init__(self, source: ImageSource, wanted: Mapping[str, MethodAtCost | Plan]) -> None:
        self.source, self.backbone, self.grid = source, source.backbone, grid_of(source)
        self.names = class_names(source.loaded)
        self.models = {label: self._build_model(method) for label, method in wanted.items()}
        # after the plans: they are cheap to check, a proof takes several forward passes
        require_proof(self.backbone)
        for model in self.models.values():
            if model.plan.awaits_calibration:
                self._calibrate(model)
        self.unpruned_macs = count(self.backbone, self.backbone.image_size).total

    @torch.inference_mode()
    def trace(self, picked: SelectedImage) -> ImageTrace:
        """Return the trace of every method on one image."""
        method_traces = [
            self._trace_method(label, model, picked) for label, model in self.models.items()
        ]
        return ImageTrace(
            title=picked.title,
            label=None if picked.label is None else self.names[picked.label],
            crop=picked.crop,
            grid=self.grid,
            before=self._prediction(self.backbone.plain(picked.inputs)),
            tracks=tuple(method_traces),
        )

    @torch.inference_mode()
    def reductions(self, images: Sequence[SelectedImage]) -> list[Reductions | None]:
        """Return what every method does to some images, which go through it together.

        None for a method whose model sees other patches.
        """
        inputs = torch.cat([image.inputs for image in images])
        index = torch.tensor([image.index for image in images])
        return [
            self._reductions(model, inputs, index) if model.backbone is self.backbone else None
            for model in self.models.values()
        ]

    def _reductions(self, model: ReducedModel, inputs: Tensor, index: Tensor) -> Reductions:
        _, maps = _run(model, inputs, index)
        rows, columns = self.grid
        kept = torch.arange(rows * columns).expand(len(index), -1)
        stages = [stage for stage in model.survivors if not stage.came_back]
        owners = stages[-1].owner if stages else kept
        # what is aside at the end was not kept there
        return Reductions(owners.clamp(min=-1), next((maps[block] for block in sorted(maps)), None))

    def _build_model(self, method: MethodAtCost | Plan) -> ReducedModel:
        if isinstance(method, Plan):
            return ReducedModel(method.backbone, method, trace=True)
        cost = method.cost
        plan = make_plan(self.backbone, method.method, cost.schedule, cost.budget)
        return ReducedModel(plan.backbone, plan, trace=True)

    def _calibrate(self, model: ReducedModel) -> None:
        """Solve the budget of a model on what the data set offers for that."""
        source, size = self.source, model.backbone.image_size
        data = calibration_data(None, source.data, model.method)
        drawn = draw_sample(
            CalibrationSpec(), data, source.data, (source.loaded, self.backbone), [size]
        )
        samples = drawn.prepared.samples
        assert isinstance(samples, ImageSamples)
        samples = samples.at({size})
        calibrate(model, [samples.collate([samples[place] for place in range(len(samples))])])

    def _trace_method(self, label: str, model: ReducedModel, picked: SelectedImage) -> MethodTrace:
        seen = model.backbone.image_size
        inputs = picked.inputs
        if seen != self.backbone.image_size:
            inputs = self.source.inputs(picked.index, seen)
        grid = model.backbone.grid(seen) or self.grid
        logits, maps = _run(model, inputs, torch.tensor([picked.index]))
        stages = [
            StageTrace(
                stage.block,
                on_grid(stage.owner[0], grid),
                None if stage.came_back or importance is None else on_grid(importance[0], grid),
                stage.came_back,
            )
            for stage in model.survivors
            for importance in [maps.get(stage.block)]
        ]
        macs = int(model.macs_per_image.total[0])
        share = macs / self.unpruned_macs
        smaller = None if model.backbone is self.backbone else grid
        return MethodTrace(label, tuple(stages), self._prediction(logits), macs, share, smaller)

    def _prediction(self, logits: Tensor) -> Prediction:
        confidence, index = logits[0].to(at_least_float32(logits.dtype)).softmax(dim=0).max(dim=0)
        return Prediction(self.names[int(index)], float(confidence), int(index))


def _run(model: ReducedModel, inputs: Tensor, index: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """Return the logits (B, K), and the importance of each patch (B, P) by block."""
    maps: dict[int, Tensor] = {}
    model.watch = _record_importance(model.method, maps)
    logits: Tensor = model(inputs, index)
    # the model is kept for the next images, and must not write into these maps again
    model.watch = None
    return logits, maps


def _record_importance(
    method: Method, maps: dict[int, Tensor]
) -> Callable[[Tokens, Attention, Stage], None]:
    """Return a callback that stores the importance of each patch (B, P) in `maps`, by block."""

    def note(tokens: Tokens, attention: Attention, stage: Stage) -> None:
        values = method.importance(tokens, attention, stage)
        if values is not None:
            maps[stage.block] = _values_of_patches(checked(method, tokens, values), tokens)

    return note


def checked(method: Method, tokens: Tokens, values: Tensor) -> Tensor:
    """Return a method's importance if it is (B, N); else raise KeeprateError with its name."""
    shape = tuple(tokens.x.shape[:2])
    if not isinstance(values, Tensor) or tuple(values.shape) != shape:
        actual = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise KeeprateError(
            f"Method '{method.name}': importance must be one number per token, prefix tokens "
            f"included, {shape}, not {actual}."
        )
    return values


def _values_of_patches(values: Tensor, tokens: Tokens) -> Tensor:
    """Return for each patch of the images the value of its token (B, P).

    NaN for patches that were dropped before.
    """
    owner = tokens.owner
    assert owner is not None
    # -1 (dropped) would read the last token: those patches read token 0, then become NaN
    patch_values = values.to(at_least_float32(values.dtype)).gather(1, owner.clamp(min=0))
    return patch_values.masked_fill(owner < 0, torch.nan)
