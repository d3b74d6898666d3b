"""Bidirectional soft matching and the attention of fused tokens, of MCTF, as pure functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .matching import Match


def criteria(x: Tensor, received: Tensor | None, size: Tensor | None) -> Tensor:
    """Return how well each even token of x (B, N, C) fuses with each odd one, (B, A, B').

    The product of (cosine + 1) / 2, of how little attention both `received` (B, N), to the power
    1/20, and of how small the `size` (B, N) of both is, to the power 1/40. Source: MCTF, equations
    2 to 5.
    """
    unit = F.normalize(x, dim=-1)
    fitness = (unit[:, ::2] @ unit[:, 1::2].transpose(1, 2) + 1) / 2
    for values, power in ((received, 1 / 20), (size, 1 / 40)):
        if values is not None:
            smallness = (values.amin(dim=1, keepdim=True) / values) ** power
            fitness = fitness * smallness[:, ::2, None] * smallness[:, None, 1::2]
    return fitness


def two_way_match(fitness: Tensor, num_prefix: int, from_even: int, from_odd: int) -> Match:
    """Match even tokens with odd ones by `fitness` (B, A, B'), and then odd with even ones.

    The `from_even` best even tokens go into their odd partners; of the odd ones, the `from_odd`
    best go into their partners among the even tokens that are left, with what went into them.
    Prefix tokens take no part. Source: MCTF, section 3.2.
    """
    batch, num_even, num_odd = fitness.shape
    position = torch.arange(num_even + num_odd, device=fitness.device)
    prefix = position < num_prefix
    fitness = fitness.masked_fill(prefix[::2, None] | prefix[None, 1::2], -torch.inf)
    best, to_odd = fitness.max(dim=2)  # (B, A)
    ranked = best.argsort(dim=1, descending=True, stable=True)
    gone, even_left = ranked[:, :from_even], ranked[:, from_even:].sort(dim=1).values
    free = fitness.scatter(1, gone[..., None].expand(-1, -1, num_odd), -torch.inf)
    back, to_even = free.max(dim=1)  # (B, B')
    odd_ranked = back.argsort(dim=1, descending=True, stable=True)
    if not from_odd:
        odd_ranked = torch.arange(num_odd, device=fitness.device).expand(batch, -1)
    odd_gone, odd_left = odd_ranked[:, :from_odd], odd_ranked[:, from_odd:]

    target = position.expand(batch, -1).clone()
    target.scatter_(1, odd_gone * 2 + 1, to_even.gather(1, odd_gone) * 2)
    # after the odd ones: what went into an odd token that goes, goes with it
    partner = to_odd.gather(1, gone) * 2 + 1
    target.scatter_(1, gone * 2, target.gather(1, partner))
    source = torch.cat([gone * 2, odd_gone * 2 + 1], dim=1)
    stays = torch.cat([even_left * 2, odd_left * 2 + 1], dim=1)
    # prefix tokens first, in the order of their positions
    prefix_first = stays.clamp(max=num_prefix).argsort(dim=1, stable=True)
    return Match(source, target.gather(1, source), stays.gather(1, prefix_first))


def fused_positions(match: Match) -> Tensor:
    """Return the new position (B, N) of every token, that of what it fuses into if it goes."""
    kept = match.order.shape[1]
    count = kept + match.source.shape[1]
    new = torch.arange(kept, device=match.order.device).expand(match.order.shape[0], -1)
    position = match.order.new_zeros(match.order.shape[0], count).scatter(1, match.order, new)
    return position.scatter(1, match.source, position.gather(1, match.into))


def shares(weight: Tensor, position: Tensor, kept: int) -> Tensor:
    """Return each token's share (B, N) of the token it ends in, by its `weight` (B, N)."""
    total = weight.new_zeros(weight.shape[0], kept).scatter_add(1, position, weight)
    return weight / total.gather(1, position)


def weighted_means(x: Tensor, share: Tensor, position: Tensor, kept: int) -> Tensor:
    """Return the fused tokens (B, kept, C): sums of x (B, N, C), each times its share (B, N)."""
    index = position[..., None].expand_as(x)
    return x.new_zeros(x.shape[0], kept, x.shape[2]).scatter_add(1, index, x * share[..., None])


def fused_attention(weights: Tensor, share: Tensor, position: Tensor, kept: int) -> Tensor:
    """Return the attention (B, H, kept, kept) of fused tokens, from `weights` (B, H, N, N).

    As keys, fused tokens get the attention of all of them together; as queries, their mean by
    `share`. Source: MCTF, section 3.3.
    """
    batch, heads, count, _ = weights.shape
    columns = position[:, None, None].expand_as(weights)
    by_key = weights.new_zeros(batch, heads, count, kept).scatter_add(3, columns, weights)
    rows = position[:, None, :, None].expand_as(by_key)
    by_query = by_key * share[:, None, :, None].to(by_key.dtype)
    return weights.new_zeros(batch, heads, kept, kept).scatter_add(2, rows, by_query)
