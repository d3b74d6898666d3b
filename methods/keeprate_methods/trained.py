"""What methods share whose layers were trained with the model, one for each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate import KeeprateError, Method, Place, Shape, Stage

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate.stage_weights import StageWeights


class Trained(Method):
    """Base of methods that compute with layers of a file, named `weights_prefix` and a number.

    `shapes` are those of a layer's tensors: C are the channels of the tokens, and K the patch
    tokens that a stage leaves, where a layer fixes them; the file decides other letters.
    """

    place = Place.AFTER_BLOCK
    default_blocks: ClassVar[tuple[int, ...]] = (2, 5, 8)  # the inputs of blocks 3, 6, 9
    requires_weights: ClassVar[bool] = True
    weights_prefix: ClassVar[str]
    shapes: ClassVar[Mapping[str, str]]

    def __init__(self, weights: Path | None = None) -> None:
        self.weights = weights
        self.trained = None if weights is None else self._read(weights)

    def _read(self, weights: Path) -> StageWeights:
        # imported here, as it imports torch
        from keeprate.stage_weights import read_stage_weights

        return read_stage_weights(weights, self.weights_prefix, self.shapes)

    def layer_of(self, stage: Stage) -> int:
        """Return the number of the layer that a stage computes with."""
        return stage.number

    def layer(self, stage: Stage, x: Tensor) -> dict[str, Tensor]:
        """Return the tensors of a stage's layer, where and as `x` is."""
        return self._given().of(self.layer_of(stage), x)

    def sizes(self, stage: Stage) -> Mapping[str, int]:
        """Return the sizes of a stage's layer by letter, of the last layer for stages beyond it."""
        # the costs of such stages are asked for while a budget is solved, before they are refused
        return self._given().sizes[min(self.layer_of(stage), self._given().count - 1)]

    def _given(self) -> StageWeights:
        if self.trained is None:
            raise KeeprateError(f"Method '{self.name}' needs weights=FILE")
        return self.trained

    def unfit(self, shape: Shape, stages: Sequence[Stage]) -> str:
        """Return which stage has no layer, or which layer does not fit."""
        trained = self._given()
        for sizes in trained.sizes:
            if sizes["C"] != shape.channels:
                return (
                    f"has weights for tokens of {sizes['C']} channels, in '{trained.file}', and "
                    f"this model's have {shape.channels}: give those trained with this model"
                )
        left, acting = shape.patches, []
        for stage in stages:
            acting += [stage] if stage.keep < left else []
            left = self.left_after(left, stage.keep)
        return next(filter(None, (self._fault(stage, acting) for stage in acting)), "")

    def _fault(self, stage: Stage, acting: Sequence[Stage]) -> str:
        """Return why one of the stages that remove something cannot act, "" if it can."""
        trained, layer = self._given(), self.layer_of(stage)
        name = f"'{self.weights_prefix}{layer}'"
        if layer >= trained.count:
            return (
                f"has no layer {name} in '{trained.file}' for the stage at block "
                f"{stage.block}: the last is '{self.weights_prefix}{trained.count - 1}'; end there"
            )
        kept = trained.sizes[layer].get("K", stage.keep)
        if kept == stage.keep:
            return ""
        possible = (each for each in acting if self.layer_of(each) < trained.count)
        counts = (f"{self.sizes(each)['K']}@{each.block}" for each in possible)
        return (
            f"leaves {kept} patch tokens by {name} in '{trained.file}', and the schedule "
            f"{stage.keep} at block {stage.block}: write schedule {','.join(counts)}"
        )
