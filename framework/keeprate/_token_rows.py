"""Where tokens go when some are kept and others leave: positions, inverted and completed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def positions(index: Tensor, count: int, valid: Tensor | None = None) -> Tensor:
    """Invert `index` (B, K): the new position of each of `count` tokens, -1 if gone or padding."""
    gone = torch.full((index.shape[0], count), -1, dtype=torch.int64, device=index.device)
    new = torch.arange(index.shape[1], device=index.device).expand_as(index)
    if valid is None:
        return gone.scatter(1, index, new)
    # padding may name a token that is also kept: the maximum prefers the kept position to -1
    return gone.scatter_reduce(1, index, new.masked_fill(~valid, -1), "amax")


def others(index: Tensor, count: int) -> Tensor:
    """Return the positions below `count` that `index` (B, R) does not name, ascending."""
    stays = torch.ones(index.shape[0], count, device=index.device).scatter(1, index, 0.0)
    return stays.argsort(dim=1, descending=True, stable=True)[:, : count - index.shape[1]]


def merged_places(source: Tensor, into: Tensor, order: Tensor) -> Tensor:
    """Return the new place (B, N) of each token: in `order` (B, K), or that of what it goes `into`.

    -1: it is named neither in `source` (B, R) nor in `order`, or what it goes into is not.
    """
    place = positions(order, order.shape[1] + source.shape[1])
    return place.scatter(1, source, place.gather(1, into))


def sums(x: Tensor, place: Tensor, count: int) -> Tensor:
    """Add up the rows of x (B, N, ...) that have the same place (B, N): (B, count, ...)."""
    batch, tokens, *rest = x.shape
    if x.dim() == 2 or not x.is_cpu:
        columns = place.view(*place.shape, *(1 for _ in rest)).expand_as(x)
        return x.new_zeros(batch, count, *rest).scatter_add_(1, columns, x)
    # whole rows are added several times faster by a CPU than one element after another
    first = torch.arange(batch, device=x.device)[:, None] * count
    rows = x.reshape(batch * tokens, *rest)
    total = x.new_zeros(batch * count, *rest).index_add_(0, (place + first).flatten(), rows)
    return total.view(batch, count, *rest)


def means(x: Tensor, size: Tensor, total: Tensor, place: Tensor, *, padded: bool) -> Tensor:
    """Return the means (B, K, C) of the tokens x (B, N, C) with the same place, by size (B, N).

    `total` (B, K) are the sums of their sizes; some are 0 where tokens are `padded`.
    """
    # sizes of half precision would be inexact above 2048 (float16) or 256 (bfloat16)
    exact = at_least_float32(x.dtype)
    whole = total.gather(1, place).to(exact)
    if padded:
        whole = whole.clamp_min(torch.finfo(exact).tiny)
    share = (size / whole).to(x.dtype)
    return sums(x * share[..., None], place, total.shape[1])


def follow(owner: Tensor | None, place: Tensor) -> Tensor | None:
    """Return `owner` (B, P) after tokens moved to new places (B, N); below 0 = dropped."""
    if owner is None:
        return None
    # what is below 0 is no index, so it is replaced here and put back below
    moved = place.gather(1, owner.clamp(min=0))
    return torch.where(owner < 0, owner, moved)


def ranked(score: Tensor, valid: Tensor | None, num_prefix: int) -> Tensor:
    """Return the positions (B, N) of prefix tokens, then of patch tokens, the best by score first.

    Padding, where `valid` (B, N) is False, comes last, whatever its scores.
    """
    patches = (score if valid is None else score.masked_fill(~valid, -torch.inf))[:, num_prefix:]
    # no patch token is before the prefix tokens: of equal scores the earlier comes first
    patches = F.pad(patches, (num_prefix, 0), value=torch.inf)
    # stable, so that ties have one order on every device
    order = patches.argsort(dim=1, descending=True, stable=True)
    if valid is None:
        return order
    # padding goes behind tokens whose own score is -inf
    return order.gather(1, (~valid).gather(1, order).to(torch.uint8).argsort(dim=1, stable=True))


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Return rows of x (B, N, ...) at index (B, K), as (B, K, ...)."""
    if x.stride(1) == 0:  # all tokens of an image have the same row, as their sizes at first
        return x[:, : index.shape[1]]
    if x.dim() == 2:
        return x.gather(1, index)
    batch, count, *rest = x.shape
    if not x.is_cpu:
        columns = index.view(*index.shape, *(1 for _ in rest))
        return x.gather(1, columns.expand(-1, -1, *rest))
    # whole rows are copied several times faster by a CPU than one element after another
    first = torch.arange(batch, device=x.device)[:, None] * count
    rows = x.reshape(batch * count, *rest).index_select(0, (index + first).flatten())
    return rows.view(batch, index.shape[1], *rest)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the wider of `dtype` and float32: sizes, means and scores are computed in it."""
    return torch.promote_types(dtype, torch.float32)
