"""Count what a convolutional stem costs, and how many numbers it returns, from shapes alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from ..errors import KeeprateError

# each number of their output costs as many products as one output channel has weights
_COUNTED = (F.conv1d, F.conv2d, F.linear)
# these multiply matrices by another rule: refused, so that no product is missed silently
_UNCOUNTED = (
    F.conv_transpose2d,
    F.scaled_dot_product_attention,
    F.multi_head_attention_forward,
    torch.matmul,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.bmm,
    torch.baddbmm,
    torch.einsum,
)


@dataclass(frozen=True)
class Embedding:
    """The numbers that a stem returns for one image, and the multiply-accumulates it takes."""

    numbers: int
    macs: int


def embedding_of(module: nn.Module, image_size: tuple[int, int]) -> Embedding:
    """Run `module` on an image (1, C, height, width) without values and count its products.

    Convolutions and linear layers are counted. Raises KeeprateError where another operation
    multiplies matrices.
    """
    # copies on the meta device: nothing is computed there, and the model stays as it is
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in chain(module.named_parameters(), module.named_buffers())
    }
    dtype = next(module.parameters()).dtype
    convolution = next(layer for layer in module.modules() if isinstance(layer, nn.Conv2d))
    images = torch.empty(1, convolution.in_channels, *image_size, device="meta", dtype=dtype)
    counter = _Products()
    with torch.no_grad(), counter:
        output = functional_call(module, state, (images,))
    return Embedding(output.numel(), counter.macs)


class _Products(TorchFunctionMode):
    """Counts the products of the convolutions and linear layers that are called inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _UNCOUNTED:
            raise KeeprateError(f"The cost of {func.__name__} in a stem cannot be counted.")
        output = func(*args, **(kwargs or {}))
        if func in _COUNTED:
            self.macs += output.numel() * _weight(*args, **(kwargs or {}))[0].numel()
        return output


def _weight(input: Tensor, weight: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return the weight of a call, whether it was passed by position or by name."""
    return weight
