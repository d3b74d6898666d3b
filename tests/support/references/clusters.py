"""Matchings and clusterings of one image's tokens, written out in loops on lists of numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import exp, sqrt

from .similarity import Vector, cosine, distance


def mean(vectors: list[Vector], weights: list[float], divisor: float | None = None) -> Vector:
    total = sum(weights) if divisor is None else divisor
    rows = [[w * number for number in v] for v, w in zip(vectors, weights, strict=True)]
    return [sum(numbers) / total for numbers in zip(*rows, strict=True)]


def length(vector: Vector) -> float:
    return sqrt(sum(number**2 for number in vector))


def mlerp(vectors: list[Vector], repository: bool) -> Vector:
    """Fuse the first vector, which the others merge into, with them."""
    average = mean(vectors, [1.0] * len(vectors))
    divisor = length(vectors[0]) if repository else length(average)
    return [number / divisor * max(map(length, vectors)) for number in average]


def paper_pair(similarity: float, margin: float) -> float:
    return similarity if similarity >= margin else exp(similarity - margin) - 1


def repository_pair(similarity: float, margin: float) -> float:
    over = similarity - margin
    return over if over > 0 else exp(over) - 1


def energy_groups(
    keys: list[Vector], removed: int, pair: Callable[[float], float], protect: bool
) -> list[list[int]]:
    """Return what is left, in order: for each token itself and those that merge into it."""
    tokens = range(len(keys))
    energy = [sum(pair(cosine(keys[i], keys[j])) for j in tokens) / len(keys) for i in tokens]
    ranked = sorted(tokens, key=lambda i: -energy[i])
    pool, protected = (ranked[: 2 * removed], ranked[2 * removed :]) if protect else (ranked, [])
    set_a, set_b = pool[::2], pool[1::2]
    partner = {a: max(set_b, key=lambda b: cosine(keys[a], keys[b])) for a in set_a}
    by_match = sorted(set_a, key=lambda a: -cosine(keys[a], keys[partner[a]]))
    merging = by_match[:removed]
    groups = [[token] for token in [*protected, *by_match[removed:]]]
    return groups + [[b, *(a for a in merging if partner[a] == b)] for b in set_b]


LINKAGES: dict[str, Callable[[list[float]], float]] = {
    "single": min,
    "complete": max,
    "average": lambda gaps: sum(gaps) / len(gaps),
}


def agglomerated(keys: list[Vector], clusters: int, linkage: str) -> list[list[int]]:
    groups = [[token] for token in range(len(keys))]

    def apart(pair: tuple[list[int], list[int]]) -> float:
        gaps = [1 - cosine(keys[i], keys[j]) for i in pair[0] for j in pair[1]]
        return LINKAGES[linkage](gaps)

    while len(groups) > clusters:
        one, other = min(combinations(groups, 2), key=apart)
        groups = [group for group in groups if group not in (one, other)] + [one + other]
    return groups


def joined(x: list[Vector], centres: list[int]) -> list[list[int]]:
    """Return the clusters of `centres`, each with its centre first."""
    groups = {centre: [centre] for centre in centres}
    for token in range(len(x)):
        if token not in groups:
            home = min(sorted(centres), key=lambda centre: distance(x[token], x[centre], 2))
            groups[home].append(token)
    return list(groups.values())


def density_clusters(x: list[Vector], keep: int, k: int) -> list[list[int]]:
    tokens, width = range(len(x)), sqrt(len(x[0]))
    gaps = [[distance(x[i], x[j], 2) / width for j in tokens] for i in tokens]
    density = []
    for row in gaps:
        closest = sorted(row)[:k]
        density.append(exp(-sum(gap**2 for gap in closest) / len(closest)))
    score = []
    for i in tokens:
        denser = [gaps[i][j] for j in tokens if density[j] > density[i]]
        score.append(density[i] * (min(denser) if denser else max(map(max, gaps))))
    return joined(x, sorted(tokens, key=lambda i: -score[i])[:keep])


def first_medoids(x: list[Vector], keep: int, repository: bool) -> list[int]:
    """Return the first token and then always the one farthest from those chosen."""
    chosen = [0]
    how_far = max if repository else min
    while len(chosen) < keep:
        others = [token for token in range(len(x)) if token not in chosen]
        far = {i: how_far(distance(x[i], x[j], 2) for j in chosen) for i in others}
        chosen.append(max(others, key=lambda i: far[i]))
    return chosen


def medoids(
    x: list[Vector], weight: list[float], first: list[int], iterations: int, repository: bool
) -> list[int]:
    found = first
    for _ in range(iterations):
        after = []
        for group in joined(x, found):
            everyone = range(len(x))
            cost = {
                i: weight[i] * sum(distance(x[i], x[j], 2) for j in everyone)
                if repository
                else sum(weight[j] * distance(x[i], x[j], 2) for j in group)
                for i in group
            }
            after.append(min(sorted(group), key=lambda i: cost[i]))
        found = after
    return sorted(found)
