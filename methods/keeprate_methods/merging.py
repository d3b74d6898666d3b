"""Merging of tokens that are not weighted by their sizes, as pure functions."""

from __future__ import annotations

import torch
from torch import Tensor

from keeprate import Tokens
from keeprate.tokens import at_least_float32, take_rows

from .matching import Match


def match_of(into: Tensor, num_prefix: int, keep: int) -> Match:
    """Return the merge of patch tokens into those at `into` (B, n), `keep` of them in each image.

    `into` holds positions among the patch tokens; a token that stays has its own there. What stays
    is in the order it had.
    """
    batch, count = into.shape
    own = torch.arange(count, device=into.device)
    # stable: those that merge come first, both parts in the order of their positions
    by_part = (into == own).to(torch.uint8).argsort(dim=1, stable=True)
    source, stays = by_part[:, : count - keep], by_part[:, count - keep :]
    prefix = torch.arange(num_prefix, device=into.device).expand(batch, -1)
    return Match(
        source + num_prefix,
        into.gather(1, source) + num_prefix,
        torch.cat([prefix, stays + num_prefix], dim=1),
    )


def sums(x: Tensor, match: Match) -> tuple[Tensor, Tensor]:
    """Add to each token of x (B, N, C) those that merge into it.

    Returns the sums (B, N, C) and how many tokens are in each (B, N), float32 or wider. Rows of
    tokens that nothing merges into are as they were.
    """
    wide = x.to(at_least_float32(x.dtype))
    into = match.into[..., None].expand(-1, -1, x.shape[-1])
    total = wide.scatter_add(1, into, take_rows(wide, match.source))
    ones = torch.ones_like(match.source, dtype=wide.dtype)
    number = torch.ones_like(wide[..., 0]).scatter_add(1, match.into, ones)
    return total, number


def means(x: Tensor, match: Match, *, epsilon: float = 0.0, num_prefix: int = 0) -> Tensor:
    """Return the plain mean (B, N, C) of each token of x and those that merge into it.

    `epsilon` is added to the number of tokens in a mean, except for `num_prefix` prefix tokens.
    """
    total, number = sums(x, match)
    is_patch = torch.arange(x.shape[1], device=x.device) >= num_prefix
    return total / torch.where(is_patch, number + epsilon, number)[..., None]


def mlerp(x: Tensor, match: Match, *, by_target: bool = False) -> Tensor:
    """Return means (B, N, C) that are as long as the longest token in them (MLERP).

    With `by_target` a mean is divided by the length of the token merged into, not by its own, which
    makes it shorter or longer than that. Source: ToFu, MLERP (arXiv 2312.01026).
    """
    wide = x.to(at_least_float32(x.dtype))
    total, number = sums(wide, match)
    mean = total / number[..., None]
    length = wide.norm(dim=-1)  # (B, N)
    longest = length.scatter_reduce(1, match.into, length.gather(1, match.source), "amax")
    divisor = length if by_target else mean.norm(dim=-1)
    # tokens that cancel out have no direction
    direction = mean / divisor.clamp_min(torch.finfo(wide.dtype).tiny)[..., None]
    return torch.where(number[..., None] > 1, direction * longest[..., None], wide)


def merged(tokens: Tokens, match: Match, x: Tensor) -> Tokens:
    """Merge sizes and owners as `match` says; embeddings are the rows of x (B, N, C) that stay."""
    moved = tokens.merge(match.source, match.into, match.order, average=False)
    return moved.with_x(take_rows(x, match.order).to(tokens.x.dtype))
