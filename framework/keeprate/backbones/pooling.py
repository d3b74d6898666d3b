"""Pooling over tokens that stand for different numbers of patches."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..tokens import Tokens, at_least_float32
from .fused_attention import FusedCalls


def size_weighted(tokens: Tokens, pool: str, include_prefix: bool) -> Tensor:
    """Rescale embeddings (B, N, C) so that a plain mean over tokens weighs each by its size.

    A merged token counts as often as the patches it stands for; padding does not count. Sizes do
    not change a maximum, and a class-token head reads no patch token: their embeddings are returned
    as they are, except that padding is minus infinity for a maximum.
    """
    plain = not tokens.has_merged and tokens.valid is None
    if plain or pool == "token":  # untouched, so that the logits stay the same bits as the model's
        return tokens.x
    # half precision would round a sum of many sizes
    exact = at_least_float32(tokens.x.dtype)
    size = tokens.size.to(exact)
    valid = torch.ones_like(size) if tokens.valid is None else tokens.valid.to(exact)
    if pool == "max":
        return tokens.x.masked_fill(valid[..., None] == 0, -torch.inf)
    weight = size * valid  # (B, N)
    start = 0 if include_prefix else tokens.num_prefix
    total = weight[:, start:].sum(dim=1, keepdim=True)
    weight = weight * (tokens.count - start) / total  # the model's mean divides by that count
    weight[:, :start] = 1  # tokens that are in no mean may be read on their own
    return tokens.x * weight[..., None].to(tokens.x.dtype)


class SizeMask(FusedCalls):
    """Adds `mask` (B, 1, 1, N) to the logits of every fused attention call inside it."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *options: Any,
        **named_options: Any,
    ) -> Tensor:
        """Return what the call returns with the mask; the pooling has none of its own to keep."""
        return F.scaled_dot_product_attention(
            query, key, value, self.mask, *options, **named_options
        )
