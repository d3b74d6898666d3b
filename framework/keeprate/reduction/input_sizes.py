"""Chooses the sizes at which a method that makes the input smaller has the model run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from ..backbone import Backbone, Inputs
from ..costs import Budget
from ..errors import KeeprateError
from ..resizing import InputMethod, InputSize
from .budget import solve
from .macs import count

if TYPE_CHECKING:
    from torch import Tensor

    from .plan import Plan

_RESIZED: WeakKeyDictionary[Backbone, WeakValueDictionary[InputSize, Backbone]] = (
    WeakKeyDictionary()
)
"""Backbones at other sizes, while some plan has them: runs at one size share their blocks."""


@dataclass(frozen=True)
class Resized:
    """What made a model's input smaller: the `method` that was asked for, and the model's `own`
    backbone. `size` has the sizes that it runs at; `note` says how a budget was missed.
    """

    method: InputMethod
    own: Backbone
    size: InputSize
    note: str | None = None

    def runs_at(self, image_size: tuple[int, int], planned: tuple[int, int]) -> tuple[int, int]:
        """Return the `planned` size for images of the model's own size; refuse any other."""
        if image_size == self.own.image_size:
            return planned
        sizes = " and ".join(
            f"{height} x {width}" for height, width in sorted({self.own.image_size, planned})
        )
        raise KeeprateError(
            f"Method '{self.method.name}' is planned for images of {sizes} pixels, not "
            f"{image_size[0]} x {image_size[1]}."
        )


def embedded(backbone: Backbone, inputs: Inputs, image_size: tuple[int, int]) -> Tensor:
    """Return the tokens (B, N, C) of inputs; KeeprateError for images that the model cannot take.

    `image_size` (height, width) is theirs, in pixels.
    """
    try:
        return backbone.embed(inputs)
    except AssertionError as error:  # with which libraries refuse sizes that their model has not
        own, given = (f"{height} x {width}" for height, width in (backbone.image_size, image_size))
        raise KeeprateError(
            f"The model takes images of {own} pixels, not {given}: resize them, or make the model "
            "for this size."
        ) from error


def resized_at(backbone: Backbone, method: InputMethod) -> tuple[Backbone, Resized]:
    """Return the backbone on the grid that the method was given.

    Raises KeeprateError for a grid that the method cannot make.
    """
    size = method.size(own_size(backbone))
    return _resized(backbone, size), Resized(method, backbone, size)


def solved_size(
    backbone: Backbone, method: InputMethod, budget: Budget
) -> tuple[Backbone, Resized]:
    """Return the backbone on the costliest grid that the budget allows.

    Raises KeeprateError for a budget out of reach.
    """
    sizes = method.sizes(own_size(backbone))
    solution = solve(
        make=lambda scale: sizes[min(int(scale), len(sizes) - 1)],
        price=lambda size: count(_resized(backbone, size), size.image).total,
        allowed=budget.of(count(backbone, backbone.image_size).total),
        what=f"method '{method.name}'",
    )
    size = solution.found
    return _resized(backbone, size), Resized(method, backbone, size, solution.note)


def own_size(backbone: Backbone) -> InputSize:
    """Return the sizes of a resizable backbone's own images and patches."""
    grid, (height, width) = backbone.grid(backbone.image_size), backbone.image_size
    assert grid is not None
    return InputSize((height, width), (height // grid[0], width // grid[1]))


def fitted(inputs: Inputs, plan: Plan) -> Inputs:
    """Return inputs at the size at which the plan's model runs.

    Of images by size, as a pass over a data set has them, those of this size. Images (B, 3, H, W)
    of the model's own size, of which no original is there, are resized: bicubic, antialiased.
    """
    size = plan.backbone.image_size
    if isinstance(inputs, Mapping):
        return inputs.get(size, inputs)
    if plan.resized is None or inputs.shape[-2:] == size:
        return inputs
    # imported here: plans are made, and refused, without torch
    import torch.nn.functional as F

    from ..tokens import at_least_float32

    images = inputs.to(at_least_float32(inputs.dtype))
    goal = plan.runs_at((inputs.shape[-2], inputs.shape[-1]))
    resized: Tensor = F.interpolate(images, goal, mode="bicubic", antialias=True)
    return resized.to(inputs.dtype)


def _resized(backbone: Backbone, size: InputSize) -> Backbone:
    if size == own_size(backbone):
        return backbone
    known = _RESIZED.setdefault(backbone, WeakValueDictionary())
    resized = known.get(size)
    if resized is None:
        resized = known[size] = backbone.resized(size)
    return resized
