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


@dataclass(frozen=True)
class Pairing:
    """What of set A merges into which of set B: numbers count within a set, prefix tokens apart.

    Set A are the patch tokens at even positions, B those at odd ones. `left` (B, a - r) of A stay,
    ascending; `gone` (B, r) merge, the best match first, each into its `partner` (B, a) in B.
    """

    left: Tensor
    gone: Tensor
    partner: Tensor
    num_prefix: int
    count: int

    @property
    def kept(self) -> int:
        """The number of tokens that stay, prefix tokens included."""
        return self.count - self.gone.shape[1]

    def order(self) -> Tensor:
        """Return what stays (B, N - r): prefix tokens, what is left of set A, set B."""
        position = torch.arange(self.count, device=self.left.device)
        prefix, set_b = (
            part.expand(self.left.shape[0], -1)
            for part in (position[: self.num_prefix], position[_first(self.num_prefix, 1) :: 2])
        )
        return torch.cat([prefix, self.left * 2 + _first(self.num_prefix, 0), set_b], dim=1)

    def place(self) -> Tensor:
        """Return each token's new place in that order (B, N), its partner's if it goes."""
        left = self.left.shape[1]
        place = torch.arange(self.kept, device=self.left.device)
        place = place.expand(self.left.shape[0], -1)
        prefix, of_left = place[:, : self.num_prefix], place[:, self.num_prefix :][:, :left]
        of_b = place[:, self.num_prefix + left :]
        of_a = (self.partner + (self.num_prefix + left)).scatter_(1, self.left, of_left)
        first, second = (of_b, of_a) if self.num_prefix % 2 else (of_a, of_b)
        both = torch.stack([first[:, : second.shape[1]], second], dim=2).flatten(1)
        return torch.cat([prefix, both, first[:, second.shape[1] :]], dim=1)

    def match(self) -> Match:
        """Return the positions of what merges, of what it merges into, and of what stays."""
        source = self.gone * 2 + _first(self.num_prefix, 0)
        into = self.partner.gather(1, self.gone) * 2 + _first(self.num_prefix, 1)
        return Match(source, into, self.order())


def _first(num_prefix: int, parity: int) -> int:
    """Return the first position of a patch token that is even (`parity` 0) or odd (1)."""
    return num_prefix + (num_prefix + parity) % 2


def bipartite_pairs(metric: Tensor, num_prefix: int, removed: int) -> Pairing:
    """Match tokens by cosine of `metric` (B, N, d); `removed` of set A merge into set B.

    Each token of set A picks its most similar one of set B, and the best-scoring ones merge. Prefix
    tokens neither merge nor are merged into. Source: ToMe, section 3.2.
    """
    metric = F.normalize(metric, dim=-1)
    similarity = metric[:, ::2] @ metric[:, 1::2].transpose(1, 2)
    of_patches = similarity[:, (num_prefix + 1) // 2 :, num_prefix // 2 :]
    best, partner = of_patches.max(dim=2)  # (B, a)
    ranked = best.argsort(dim=1, descending=True, stable=True)
    left = ranked[:, removed:].sort(dim=1).values
    return Pairing(left, ranked[:, :removed], partner, num_prefix, metric.shape[1])


def bipartite_match(metric: Tensor, num_prefix: int, removed: int) -> Match:
    """Return the positions that `bipartite_pairs` pairs up."""
    return bipartite_pairs(metric, num_prefix, removed).match()


def matching_macs(shape: Shape, width: int | None = None) -> int:
    """Return the multiply-accumulates of the similarities of set A with set B.

    `width` is that of the metric, by default that of a head.
    """
    in_a = (shape.tokens + 1) // 2
    return in_a * (shape.tokens - in_a) * (width or shape.head_dim)
