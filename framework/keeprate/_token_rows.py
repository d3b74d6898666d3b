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


def take_rows(x: Tensor, index: Tensor) -> Tensor:
    """Return rows of x (B, N, ...) at index (B, K), as (B, K, ...).

    """
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
