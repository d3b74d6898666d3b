"""LTMP for one image, written out in loops on lists."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def merged_and_pruned(
    x: Tensor,
    size: Tensor,
    key: Tensor,
    importance: Sequence[float],
    prefix: int,
    merge: float,
    prune: float,
) -> list[tuple[Tensor, float]]:
    """Return the embedding and size of each token that is left, even positions first."""
    count = len(x)
    groups = {token: [token] for token in range(count)}
    for a in range(0, count, 2):
        cosines = {
            b: float(key[a] @ key[b] / key[a].norm() / key[b].norm())
            for b in range(1, count, 2)
            if a >= prefix and b >= prefix
        }
        best = max(cosines, key=lambda b: cosines[b], default=None)
        if best is not None and cosines[best] > merge:
            groups[best] += groups.pop(a)
    left = []
    for token in [*range(0, count, 2), *range(1, count, 2)]:
        members = groups.get(token, [])
        important = any(importance[member] > prune for member in members)
        if members and (important or token < prefix):
            total = sum(float(size[member]) for member in members)
            mean = sum(x[member] * float(size[member]) for member in members) / total
            left.append((mean, total))
    return left
