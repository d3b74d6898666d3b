"""Find the runs that no other run beats at both cost and accuracy."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (cost, accuracy) points on the Pareto front, the cheapest first.

    A point dominates another that costs at least as much and is at most as accurate, unless both
    are equal: equal points stay together. Estimates are compared without their intervals, so a
    point that is left out may not be distinguishable from one on the front.
    """
    # at equal cost the most accurate goes first, so that one pass over the points is enough
    order = sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1]))
    front: list[int] = []
    for index in order:
        cost, accuracy = points[index]
        last = points[front[-1]] if front else (cost, float("-inf"))
        if accuracy > last[1] or (cost, accuracy) == last:
            front.append(index)
    return front
