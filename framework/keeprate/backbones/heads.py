"""Heads of keeprate's own on timm's models: DINOv2's linear one, and one of text features."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TEMPERATURE = 100.0
"""What CLIP multiplies the cosine of image and text with, after its training."""


def linear_of(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer with the weights (K, C) and, unless it is None, the bias (K,)."""
    with torch.device("meta"):
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None)
    linear.weight = nn.Parameter(weight)
    if bias is not None:
        linear.bias = nn.Parameter(bias)
    return linear


class JoinedHead(nn.Module):
    """A linear classifier of the class token and the mean of the patch tokens, side by side."""

    def __init__(self, linear: nn.Linear, num_prefix: int) -> None:
        super().__init__()
        self.linear, self.num_prefix = linear, num_prefix

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (B, K) for the tokens (B, N, C) after the last norm."""
        patches = x[:, self.num_prefix :].mean(dim=1)
        return cast(Tensor, self.linear(torch.cat([x[:, 0], patches], dim=1)))


class ZeroShotHead(nn.Module):
    """Compares the features of an image with those of a text for each class, by their cosine."""

    def __init__(self, texts: Tensor) -> None:
        super().__init__()
        self.texts = linear_of(TEMPERATURE * F.normalize(texts, dim=1), None)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, K) for features (B, C)."""
        return cast(Tensor, self.texts(F.normalize(features, dim=-1)))
