"""ATS for one image, written out in loops on lists of numbers."""

from __future__ import annotations

from itertools import accumulate
from math import exp


def by_significance(score: list[float], points: int) -> set[int]:
    """Return the patch tokens that are sampled, as the authors do."""
    order = sorted(range(len(score)), key=lambda i: score[i])
    sums = list(accumulate(score[i] for i in order))
    sums = [(value - sums[0]) / (sums[-1] - sums[0]) for value in sums]
    first = min(value for value in sums if value > 0)
    last = max(points - 1, 1)
    picks = set()
    for step in range(points):
        even = step / last
        point = first + (even * last - first * step) / last
        picks.add(min(range(len(sums)), key=lambda i: abs(sums[i] - point)))
    if max(picks) == 1 and len(picks) > 1:
        picks.remove(1)
    return {order[i] for i in picks}


def by_position(score: list[float], points: int) -> set[int]:
    """Return the patch tokens that are sampled, in the order of their positions."""
    total = sum(score) + 1e-6
    sums = [value / total for value in accumulate(score)]
    centres = [(2 * step + 1) / (2 * (points + 1)) for step in range(points)]
    return {min(range(len(sums)), key=lambda i: abs(sums[i] - centre)) for centre in centres}


def softened(logits: list[float]) -> list[float]:
    """Return the softmax with 1e-6 added to its denominator, and spread over the keys."""
    powers = [exp(logit - max(logits)) for logit in logits]
    return [(power + 1e-6 / len(powers)) / (sum(powers) + 1e-6) for power in powers]
