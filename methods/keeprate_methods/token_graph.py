"""The graph of GTP and its ways to rank tokens, as pure functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def spatial_edges(grid: tuple[int, int], device: torch.device) -> Tensor:
    """Return which patches of a grid (rows, columns) touch, corners included: bool (n, n)."""
    rows, columns = grid
    number = torch.arange(rows * columns, device=device)
    row, column = number // columns, number % columns
    apart = (row[:, None] - row).abs().maximum((column[:, None] - column).abs())
    return apart == 1


def semantic_edges(x: Tensor, neighbours: int) -> Tensor:
    """Return, for each token of x (B, n, C), the tokens of highest cosine: bool (B, n, n)."""
    unit = F.normalize(x, dim=-1)
    similarity = unit @ unit.transpose(1, 2)
    # with itself in front, whatever rounding makes of its cosine
    own = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    ranked = similarity.masked_fill(own, torch.inf).argsort(dim=2, descending=True, stable=True)
    nearest = ranked[:, :, 1 : neighbours + 1]
    return torch.zeros_like(similarity, dtype=torch.bool).scatter(2, nearest, True)


def normalised(edges: Tensor, dtype: torch.dtype) -> Tensor:
    """Return D^-1/2 edges D^-1/2 (B, n, n), where D are the sums of the rows of `edges`."""
    graph = edges.to(dtype)
    degree = graph.sum(dim=2).clamp_min(1).rsqrt()
    return graph * degree[:, :, None] * degree[:, None]


def sparse(weights: Tensor, kept_share: float) -> Tensor:
    """Return weights (B, H, N, N) with the smallest of each head set to 0.

    Entries below the int(N N (1 - kept_share))-th smallest of the head are.
    """
    flat = weights.flatten(2)  # (B, H, N * N)
    number = int(flat.shape[2] * (1 - kept_share))
    if number < 1:
        return weights
    threshold = flat.kthvalue(number, dim=2).values[..., None, None]
    return weights.masked_fill(weights < threshold, 0.0)


def _mixed(weights: Tensor, over: Callable[[Tensor], Tensor]) -> Tensor:
    return over(_diagonal(weights)) * over(weights.sum(dim=2))


def _diagonal(weights: Tensor) -> Tensor:
    return weights.diagonal(dim1=2, dim2=3)


def _unlike(weights: Tensor, num_prefix: int) -> Tensor:
    """Return minus the sum of each row's cosines with all patch rows; weights are (B, N, N)."""
    unit = F.normalize(weights, dim=-1)
    return -(unit @ unit[:, num_prefix:].sum(dim=1)[..., None])[..., 0]


def mean(values: Tensor) -> Tensor:
    """Return the mean over heads (B, ...) of (B, H, ...)."""
    return values.mean(dim=1)


def largest(values: Tensor) -> Tensor:
    """Return the largest of all heads (B, ...) of (B, H, ...)."""
    return values.amax(dim=1)


SELECTIONS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "mixed-max": lambda weights, _: _mixed(weights, largest),
    "mixed-mean": lambda weights, _: _mixed(weights, mean),
    "sum-max": lambda weights, _: largest(_diagonal(weights)) + largest(weights.sum(dim=2)),
    "class-max": lambda weights, _: largest(weights[:, :, 0]),
    "class-mean": lambda weights, _: mean(weights[:, :, 0]),
    "image-max": lambda weights, _: largest(weights.sum(dim=2)),
    "image-mean": lambda weights, _: mean(weights.sum(dim=2)),
    "diagonal-max": lambda weights, _: largest(_diagonal(weights)),
    "diagonal-mean": lambda weights, _: mean(_diagonal(weights)),
    "unlike-max": lambda weights, prefix: _unlike(largest(weights), prefix),
    "unlike-mean": lambda weights, prefix: _unlike(mean(weights), prefix),
}
"""Scores (B, N), higher = keep, by attention weights (B, H, N, N) and number of prefix tokens."""
