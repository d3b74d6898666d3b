"""MCTF and DiffRate for one image, written out in loops on lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence

from .similarity import Vector, cosine

Matrix = list[list[float]]


def fitness(
    x: list[Vector], received: Sequence[float] | None, size: Sequence[float] | None
) -> dict[tuple[int, int], float]:
    """Return how well tokens i and j fuse; None leaves a criterion out."""
    found = {}
    for i in range(len(x)):
        for j in range(len(x)):
            fit = (cosine(x[i], x[j]) + 1) / 2
            for values, power in ((received, 1 / 20), (size, 1 / 40)):
                if values is not None:
                    small = [min(values) / value for value in values]
                    fit *= (small[i] * small[j]) ** power
            found[i, j] = fit
    return found


def two_way_groups(
    fit: dict[tuple[int, int], float], count: int, prefix: int, from_even: int, from_odd: int
) -> list[list[int]]:
    """Return which tokens end together: each token that stays, and what fuses into it."""
    even = [i for i in range(count) if i % 2 == 0 and i >= prefix]
    odd = [j for j in range(count) if j % 2 == 1 and j >= prefix]
    partner = {i: max(odd, key=lambda j: fit[i, j]) for i in even}
    gone = sorted(even, key=lambda i: -fit[i, partner[i]])[:from_even]
    into = {i: partner[i] for i in gone}
    left = [i for i in even if i not in gone]
    if from_odd:
        back = {j: max(left, key=lambda i: fit[i, j]) for j in odd}
        into |= {j: back[j] for j in sorted(odd, key=lambda j: -fit[back[j], j])[:from_odd]}
    groups: dict[int, list[int]] = {i: [i] for i in range(count) if i not in into}
    for token in into:
        end = token
        while end in into:
            end = into[end]
        groups[end].append(token)
    return list(groups.values())


def fused(x: list[Vector], weight: Sequence[float], group: list[int]) -> Vector:
    total = sum(weight[i] for i in group)
    return [sum(weight[i] * x[i][c] for i in group) / total for c in range(len(x[0]))]


def fused_weight(
    head: Matrix, weight: Sequence[float], queries: list[int], keys: list[int]
) -> float:
    """Return the attention of one group of tokens to another: columns added, rows averaged."""
    total = sum(weight[i] for i in queries)
    return sum(weight[i] / total * sum(head[i][j] for j in keys) for i in queries)


def diffrate(
    x: list[Vector], score: list[float], weight: list[float], prefix: int, pruned: int, merged: int
) -> tuple[list[Vector], list[float]]:
    """Return tokens and weights that are left, prefix tokens first, then by rank."""
    patches = sorted(range(prefix, len(x)), key=lambda i: -score[i])
    patches = patches[: len(patches) - pruned]
    stays = patches[: len(patches) - merged]
    groups = {i: [i] for i in [*range(prefix), *stays]}
    weights = {i: weight[i] for i in groups}
    for source in patches[len(stays) :]:
        best = max(stays, key=lambda i: cosine(x[source], x[i]))
        groups[best].append(source)
        weights[best] += weight[source] * cosine(x[source], x[best])
    ones = [1.0] * len(x)
    return [fused(x, ones, group) for group in groups.values()], list(weights.values())
