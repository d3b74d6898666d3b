"""What convolutional stems cost: counted on shapes alone, since their output's size is theirs."""

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

_COUNTED = (F.conv1d, F.conv2d, F.linear)
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
    """What an image of one size becomes: `numbers` in its output, and multiply-accumulates."""

    numbers: int
    macs: int


def embedding_of(module: nn.Module, image_size: tuple[int, int]) -> Embedding:
    """Run `module` on an image (1, C, height, width) without values and count its products.

    Convolutions and linear layers are counted. Raises KeeprateError where something else multiplies
    matrices.
    """
    state = {
        name: torch.empty_like(tensor, device="meta")
        for name, tensor in chain(module.named_parameters(), module.named_buffers())
    }
    dtype = next(module.parameters()).dtype
    first = next(each for each in module.modules() if isinstance(each, nn.Conv2d))
    images = torch.empty(1, first.in_channels, *image_size, device="meta", dtype=dtype)
    counter = _Products()
    with torch.no_grad(), counter:
        output = functional_call(module, state, (images,))
    return Embedding(output.numel(), counter.macs)


class _Products(TorchFunctionMode):
    """Counts the products of convolutions and linear layers inside it."""

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
    return weight
