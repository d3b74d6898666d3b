"""Compare what a method carries from stage to stage in two runs of the same images."""

from __future__ import annotations

import torch
from torch import Tensor

from ...tokens import Tokens
from ..bench import Ran
from ..outcome import Broken
from ..recording import tensors_of


def compare_states(one: Ran, other: Ran, rows: Tensor, where: str) -> None:
    """Raise Broken unless `one` carries what `other` carries for its images `rows`.

    Both runs have ended well. What differs here may lead to the same logits by chance.
    """
    for call, other_call in zip(one.reductions, other.reductions, strict=True):
        found, expected = _carried(call.result), _carried(other_call.result)
        for name in sorted({*found, *expected}):
            differs = f"differs {where}, after block {call.stage.block}"
            if name not in found or name not in expected:
                raise Broken(f"whether there is tokens.{name} {differs}", one.case)
            image = _first_difference(found[name], expected[name][rows])
            if image is not None:
                raise Broken(f"tokens.{name} of image {int(rows[image])} {differs}", one.case)


def _carried(tokens: Tokens) -> dict[str, Tensor]:
    # how much padding an image gets depends on its batch, and so do the rows of its tokens
    names = ("state", "token_state") if tokens.valid is None else ("state",)
    return tensors_of(tokens, names)


def _first_difference(found: Tensor, expected: Tensor) -> int | None:
    """Return the first row in which two tensors (B, ...) differ by more than rounding does."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return 0
    tolerance = 0.0
    if found.is_floating_point() and found.numel():
        # far above rounding errors of any order of summation, far below what an image brings in
        largest = expected[expected.isfinite()].abs().amax() if expected.isfinite().any() else 0.0
        tolerance = float(largest) * torch.finfo(found.dtype).eps ** 0.5
    close = found.isclose(expected, rtol=0.0, atol=tolerance, equal_nan=True)
    different = (~close).reshape(len(found), -1).any(dim=1)
    return int(different.int().argmax()) if bool(different.any()) else None
