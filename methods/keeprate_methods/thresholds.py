"""Merging and pruning by thresholds, of LTMP, as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def best_partners(metric: Tensor, takes_part: Tensor) -> tuple[Tensor, Tensor]:
    """Return the cosine with, and the position of, each even token's most similar odd token.

    For metric (B, N, d), both (B, A). Tokens that do not take part (B, N) are no partners, and have
    none: the cosine is -inf.
    """
    if metric.shape[1] < 2:  # no odd token is there to look for the best of
        lonely = metric.new_full(metric.shape[:2], -torch.inf)
        return lonely, torch.zeros_like(lonely, dtype=torch.int64)
    unit = F.normalize(metric, dim=-1)
    similarity = unit[:, ::2] @ unit[:, 1::2].transpose(1, 2)
    pairs = takes_part[:, ::2, None] & takes_part[:, None, 1::2]
    best, partner = similarity.masked_fill(~pairs, -torch.inf).max(dim=2)
    return best, partner * 2 + 1


def important(importance: Tensor, alive: Tensor, prefix: Tensor, prune: float) -> Tensor:
    """Return `alive` (B, N) without the patch tokens whose importance (B, N) is at most `prune`.

    The most important one stays in every image, whatever its importance.
    """
    ranked = importance.masked_fill(~alive | prefix, -1.0)
    first = torch.zeros_like(alive).scatter(1, ranked.argmax(dim=1, keepdim=True), True)
    return alive & (prefix | first | (importance > prune))


def most_important(importance: Tensor, alive: Tensor, prefix: Tensor, number: int) -> Tensor:
    """Return `alive` (B, N) without all but the `number` most important patch tokens."""
    ranked = importance.masked_fill(~alive | prefix, -1.0)
    order = ranked.argsort(dim=1, descending=True, stable=True)
    best = torch.zeros_like(alive).scatter(1, order[:, :number], True)
    return alive & (best | prefix)


def compact_order(alive: Tensor, num_prefix: int) -> tuple[Tensor, Tensor]:
    """Return the positions (B, K) of what is alive (B, N), and which of them are no padding.

    Prefix tokens come first, then the even positions, then the odd ones.
    """
    position = torch.arange(alive.shape[1], device=alive.device)
    halves = torch.cat([position[::2], position[1::2]])
    halves = halves[halves.clamp(max=num_prefix).argsort(stable=True)]
    there = alive[:, halves]
    first = (~there).to(torch.uint8).argsort(dim=1, stable=True)
    most = int(there.sum(dim=1).max()) if len(there) else num_prefix
    order = first[:, :most]
    return halves[order], there.gather(1, order)
