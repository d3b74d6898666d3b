"""Similarities of two vectors, written out on lists of numbers."""

from __future__ import annotations

from math import sqrt

Vector = list[float]


def cosine(a: Vector, b: Vector) -> float:
    return dot(a, b) / sqrt(dot(a, a) * dot(b, b))


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def distance(a: Vector, b: Vector, p: float) -> float:
    gaps = [abs(x - y) for x, y in zip(a, b, strict=True)]
    if p == float("inf"):
        return max(gaps)
    return sum(gap**p for gap in gaps) ** (1 / p)


SIMILARITIES = {
    "cosine": cosine,
    "dot": dot,
    "manhattan": lambda a, b: -distance(a, b, 1),
    "euclidean": lambda a, b: -distance(a, b, 2),
    "minkowski-3": lambda a, b: -distance(a, b, 3),
    "minkowski-4": lambda a, b: -distance(a, b, 4),
    "minkowski-5": lambda a, b: -distance(a, b, 5),
    "chebyshev": lambda a, b: -distance(a, b, float("inf")),
}
