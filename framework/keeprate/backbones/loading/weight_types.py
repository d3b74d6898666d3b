"""Refuse weights whose numbers are no weights by themselves, such as those of quantised models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ...errors import KeeprateError

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = ("num_batches_tracked", "relative_position_index", "position_ids")
"""Last parts of the names of integers that checkpoints keep beside their weights."""


def check_types(path: Path, weights: Mapping[str, Tensor], model: nn.Module) -> None:
    """Raise KeeprateError where a file holds weights that are not floating-point numbers.

    What is an integer in the model stays one.
    """
    integers = {*INTEGERS, *(_last(name) for name in _integers_in(model))}
    for name, weight in weights.items():
        if weight.dtype in FLOATS or _last(name) in integers:
            continue
        has_scales = any("scale" in _last(other) for other in weights)
        remedy = (
            "Multiply the weights by their scales, which are beside them, and save them as float32."
            if has_scales
            else "Give the weights from before they were converted to it."
        )
        raise KeeprateError(
            f"'{path}' holds {name} as {str(weight.dtype).removeprefix('torch.')}, but weights are "
            f"float32, float16, bfloat16 or float64. {remedy}"
        )


def _integers_in(model: nn.Module) -> Iterable[str]:
    # buffers that are not saved as well: a checkpoint made elsewhere may have kept them
    return (name for name, buffer in model.named_buffers() if not buffer.is_floating_point())


def _last(name: str) -> str:
    return name.rpartition(".")[2]
