"""How alike tokens are, and how the S-stage splits them in two groups."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from keeprate import Attention, Tokens
from keeprate.tokens import at_least_float32, take_rows


def patch_keys(tokens: Tokens, attention: Attention) -> Tensor:
    """Return the keys of the patch tokens, averaged over heads, (B, n, d) in float32 or wider."""
    keys = attention.k[:, :, tokens.num_prefix :]
    return keys.to(at_least_float32(keys.dtype)).mean(dim=1)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of every pair: a (B, M, D), b (B, N, D) -> (B, M, N)."""
    return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).transpose(1, 2)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot product of every pair (B, M, N)."""
    return a @ b.transpose(1, 2)


def closeness(p: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return minus the p-norm distance as a similarity of every pair (B, M, N)."""

    def negative_distance(a: Tensor, b: Tensor) -> Tensor:
        # with matrix products, close points would lose all digits of their distance
        return -torch.cdist(a, b, p=p, compute_mode="donot_use_mm_for_euclid_dist")

    return negative_distance


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine,
    "dot": dot,
    "manhattan": closeness(1),
    "euclidean": closeness(2),
    "minkowski-3": closeness(3),
    "minkowski-4": closeness(4),
    "minkowski-5": closeness(5),
    "chebyshev": closeness(float("inf")),
}


def redundant(
    ranked: Tensor, features: Tensor, removed: int, partition: str, similarity: str
) -> Tensor:
    """Return the `removed` token positions (B, removed) most similar to a token that stays.

    `ranked` (B, n) are positions in `features` (B, N, D), most important first (or in random
    order). Tokens of group A are compared with those of group B; those of A in the most similar
    pairs go. Source: Zero-TPrune, section 3.3.
    """
    features = take_rows(features, ranked)
    if similarity == "cosine":  # both groups at once
        features, similarity = F.normalize(features, dim=-1), "dot"
    if partition == "none":
        group_a, best = ranked, _best_higher_ranked(features, similarity)
    else:
        group_a = PARTITIONS[partition](ranked)[0]
        best = SIMILARITIES[similarity](*PARTITIONS[partition](features)).amax(dim=2)  # (B, |A|)
    worst = best.argsort(dim=1, descending=True, stable=True)[:, :removed]
    return group_a.gather(1, worst)


def _best_higher_ranked(features: Tensor, similarity: str) -> Tensor:
    """Return each token's best similarity with a token ranked before it; none for the first."""
    pairs = SIMILARITIES[similarity](features, features)
    later = torch.ones(pairs.shape[1:], dtype=torch.bool, device=pairs.device).triu()
    return pairs.masked_fill(later, -torch.inf).amax(dim=2)


Groups = tuple[Tensor, Tensor]


def _less_important_half(ranked: Tensor) -> Groups:
    half = ranked.shape[1] // 2
    return ranked[:, ranked.shape[1] - half :], ranked[:, : ranked.shape[1] - half]


def _more_important_half(ranked: Tensor) -> Groups:
    half = ranked.shape[1] // 2
    return ranked[:, :half], ranked[:, half:]


def _every_other_rank(ranked: Tensor) -> Groups:
    return ranked[:, 1::2], ranked[:, ::2]


PARTITIONS: dict[str, Callable[[Tensor], Groups]] = {
    "sequential-u": _less_important_half,
    "sequential-i": _more_important_half,
    "alternate": _every_other_rank,
    "random": _less_important_half,
}
"""Ranked positions -> (group A, group B). "random" halves a random ranking the caller made."""
