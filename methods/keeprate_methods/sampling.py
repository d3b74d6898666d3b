"""Samples of tokens by inverse transform, of ATS, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from keeprate import Tokens

_EPSILON = 1e-6


def softened(weights: Tensor, tokens: Tokens) -> Tensor:
    """Return (e + 1e-6 / N) / (sum of e + 1e-6), where e = exp(logit - largest logit).

    `weights` (B, H, N, N) are the softmax of the logits, N the tokens of an image without padding.
    """
    # the largest e is 1, so that the sum of e is the inverse of the largest weight
    total = 1 / weights.amax(dim=-1, keepdim=True)
    counts = tokens.counts
    number = counts.to(weights.dtype)[:, None, None, None] if isinstance(counts, Tensor) else counts
    soft = (weights * total + _EPSILON / number) / (total + _EPSILON)
    return soft if tokens.valid is None else soft * tokens.valid[:, None, None]


def by_significance(score: Tensor, alive: Tensor, points: int) -> Tensor:
    """Return which tokens are sampled, bool (B, n), in ascending order of their score (B, n).

    Points lie evenly from the first cumulative share above 0 to 1. Tokens that are not `alive`
    (B, n) are not sampled.
    """
    total = score.masked_fill(~alive, 0.0)
    total = total / total.sum(dim=1, keepdim=True)
    order = total.masked_fill(~alive, -1.0).argsort(dim=1, stable=True)  # padding first
    there = alive.gather(1, order)
    share = total.gather(1, order).cumsum(dim=1)
    lowest = share.masked_fill(~there, torch.inf).amin(dim=1, keepdim=True)
    tiny = torch.finfo(share.dtype).tiny
    share = (share - lowest) / (share.amax(dim=1, keepdim=True) - lowest).clamp_min(tiny)
    share = share.masked_fill(~there, -1.0)
    first = share.masked_fill(share <= 0, 1.0).amin(dim=1, keepdim=True)
    step = torch.arange(points, dtype=share.dtype, device=share.device)
    last = max(points - 1, 1)
    even = torch.linspace(0, 1, points, dtype=share.dtype, device=share.device)
    point = first + (even * last - first * step) / last  # (B, points)
    sampled = _nearest(share, point)
    # the authors compare the last sample with a padding of 1, and so lose it if its index is 1
    missing = (~there).sum(dim=1, keepdim=True)
    at_one = torch.arange(share.shape[1], device=share.device) - missing == 1
    is_last = sampled & (sampled.flip(1).cumsum(dim=1).flip(1) == 1)
    alone = sampled.sum(dim=1, keepdim=True) == 1  # an image keeps one token at least
    sampled = sampled & ~(is_last & at_one & ~alone)
    return torch.zeros_like(sampled).scatter(1, order, sampled)


def by_position(score: Tensor, alive: Tensor, points: int) -> Tensor:
    """Return which tokens are sampled, bool (B, n), in the order of their positions.

    With K = points + 1, they lie at 1/(2K), 3/(2K), ... in the cumulative scores (B, n).
    """
    total = score.masked_fill(~alive, 0.0)
    share = (total / (total.sum(dim=1, keepdim=True) + _EPSILON)).cumsum(dim=1)
    share = share.masked_fill(~alive, torch.inf)
    count = points + 1
    # the authors' points are float32
    point = torch.arange(1 / (2 * count), (2 * count - 1) / (2 * count), 1 / count)
    point = point[None, :points].to(share.dtype).to(share.device, non_blocking=True)
    return _nearest(share, point.expand(len(share), -1))


def _nearest(share: Tensor, point: Tensor) -> Tensor:
    """Return which of share (B, n) are the nearest, the first on ties, to any point (B, M)."""
    nearest = (point[:, :, None] - share[:, None]).abs().argmin(dim=2)
    return torch.zeros_like(share, dtype=torch.bool).scatter(1, nearest, True)


def chosen(sampled: Tensor, num_prefix: int) -> tuple[Tensor, Tensor]:
    """Return positions (B, K) of prefix and sampled tokens, and which of them are no padding."""
    batch = sampled.shape[0]
    most = int(sampled.sum(dim=1).max()) if batch else 0
    order = (~sampled).to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    prefix = torch.arange(num_prefix, device=sampled.device).expand(batch, -1)
    there = torch.ones_like(prefix, dtype=torch.bool)
    index = torch.cat([prefix, order + num_prefix], dim=1)
    return index, torch.cat([there, sampled.gather(1, order)], dim=1)
