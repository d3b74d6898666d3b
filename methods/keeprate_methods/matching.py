"""Bipartite soft matching of ToMe, as a pure function."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from keeprate import Shape


@dataclass(frozen=True)
class Match:
    """Which tokens merge: those at `source` (B, r) into those at `into` (B, r).

    `order` (B, N - r) lists the positions that stay: prefix tokens, what is left of set A, set B.
    """

    source: Tensor
    into: Tensor
    order: Tensor


def bipartite_match(metric: Tensor, num_prefix: int, removed: int) -> Match:
    """Match tokens by cosine of `metric` (B, N, d); `removed` of set A merge into set B.

    Set A are the even positions, B the odd ones; each A token picks its most similar B token, and
    the best-scoring A tokens merge. Prefix tokens neither merge nor are merged into. Source: ToMe,
    section 3.2.
    """
    position = torch.arange(metric.shape[1], device=metric.device)
    metric = F.normalize(metric, dim=-1)
    similarity = metric[:, ::2] @ metric[:, 1::2].transpose(1, 2)  # (B, A, B)
    prefix = position < num_prefix
    similarity = similarity.masked_fill(prefix[::2, None] | prefix[None, 1::2], -torch.inf)
    best, partner = similarity.max(dim=2)  # (B, A)
    ranked = best.argsort(dim=1, descending=True, stable=True)
    merged, left = ranked[:, :removed], ranked[:, removed:].sort(dim=1).values
    into = partner.gather(1, merged) * 2 + 1
    set_b = position[1::2].expand(metric.shape[0], -1)
    stays = torch.cat([left * 2, set_b], dim=1)
    prefix_first = stays.clamp(max=num_prefix).argsort(dim=1, stable=True)
    order = stays.gather(1, prefix_first)
    return Match(merged * 2, into, order)


def matching_macs(shape: Shape, width: int | None = None) -> int:
    """Return the multiply-accumulates of the similarities of set A with set B.

    `width` is that of the metric, by default that of a head.
    """
    in_a = (shape.tokens + 1) // 2
    return in_a * (shape.tokens - in_a) * (width or shape.head_dim)
