"""Layers of trained weights; their names begin with `name`, "" or one that ends with a dot."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor


def linear(x: Tensor, layer: Mapping[str, Tensor], name: str) -> Tensor:
    """Return `x` (B, n, C) through the linear layer of a name."""
    return F.linear(x, layer[f"{name}weight"], layer[f"{name}bias"])


def normed(x: Tensor, layer: Mapping[str, Tensor], name: str) -> Tensor:
    """Return `x` (B, n, C) through the layer norm of a name, whose epsilon is 1e-5."""
    return F.layer_norm(x, x.shape[-1:], layer[f"{name}weight"], layer[f"{name}bias"])
