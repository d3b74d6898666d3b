"""A processor that rounds otherwise: the last bits of products depend on where a number stands."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

PRODUCTS = frozenset(
    {
        F.linear,
        F.conv2d,
        F.scaled_dot_product_attention,
        torch.matmul,
        torch.bmm,
        torch.einsum,
        torch.norm,
        torch.linalg.vector_norm,
        Tensor.matmul,
        Tensor.__matmul__,
        Tensor.norm,
    }
)
"""What kernels compute in blocks, whose edges they may sum in another order."""


class OtherRounding(TorchFunctionMode):
    """Inside, products come out a few units in the last place off, by place and by shape.

    The same product of the same shapes is the same every time, as on every processor.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func not in PRODUCTS or not isinstance(result, Tensor):
            return result
        return result * _factors(result) if result.is_floating_point() else result


def _factors(like: Tensor) -> Tensor:
    """Return numbers close to 1 that differ from place to place."""
    place = torch.arange(like.numel(), device=like.device) * 7 + like.shape[0]
    steps = (place % 5).to(like.dtype) - 2
    return (1 + steps * torch.finfo(like.dtype).eps).reshape(like.shape)
