"""Where tokens go when some are kept and others leave: positions, inverted and completed."""

from __future__ import annotations

import torch
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


def absorbed(x: Tensor, size: Tensor, into: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (B, N, C) and size (B, N) once each token went into the one at `into` (B, N)."""
    total = torch.zeros_like(size).scatter_add(1, into, size)
    # padding that went before has the size 0
    whole = total.gather(1, into).clamp_min(torch.finfo(size.dtype).tiny)
    share = x * (size / whole).to(x.dtype)[..., None]
    return torch.zeros_like(x).scatter_add(1, into[..., None].expand_as(share), share), total


def averaged(
    x: Tensor,
    size: Tensor,
    source: Tensor,
    order: Tensor,
    position: Tensor,
    new_size: Tensor,
) -> Tensor:
    """Return the weighted means (B, K, C) of the tokens that stay and those that merge into them.

    x (B, N, C) and size (B, N) are those of all tokens. Those at `order` (B, K) stay, those at
    `source` (B, R) merge. `position` (B, N) is the new position of each token, `new_size` (B, N)
    are the new sizes.
    """
    # sizes of half precision would be inexact above 2048 (float16) or 256 (bfloat16)
    exact = at_least_float32(x.dtype)
    part = (size.to(exact) / new_size.gather(1, position)).to(x.dtype)  # (B, N), of the whole
    into = position.gather(1, source)[..., None].expand(-1, -1, x.shape[-1])
    share = take_rows(x, source) * part.gather(1, source)[..., None]  # (B, R, C)
    stay = take_rows(x, order) * part.gather(1, order)[..., None]
    return stay.scatter_add_(1, into, share)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """Return the wider of `dtype` and float32: sizes, means and scores are computed in it."""
    return torch.promote_types(dtype, torch.float32)


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Return rows of x (B, N, ...) at index (B, K), as (B, K, ...).

    Copies whole rows, which is several times faster on a CPU than gathering element by element.
    """
    if x.dim() == 2:
        return x.gather(1, index)
    batch, count, *rest = x.shape
    first = torch.arange(batch, device=x.device)[:, None] * count
    rows = x.reshape(batch * count, *rest).index_select(0, (index + first).flatten())
    return rows.view(batch, index.shape[1], *rest)
