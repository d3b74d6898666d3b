"""Which runs no other run beats at both cost and accuracy."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (cost, accuracy) points that no other dominates, the cheapest first.

    A point dominates another that costs at least as much and is at most as accurate, unless both
    are the same: equal points stay together. Estimates are compared as they are, so a point may be
    left out that is not distinguishable from one on the front.
    """
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front: list[int] = []
    for index in order:
        cost, accuracy = points[index]
        last = points[front[-1]] if front else (cost, float("-inf"))
        if accuracy > last[1] or (cost, accuracy) == last:
            front.append(index)
    return front
