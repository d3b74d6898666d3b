"""Where the names of published points go in a figure, so that none lies on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeprate.analysis.model import PublishedPoint

_LETTER, _HIGH, _MARK = 6.2, 12.0, 8.0
"""Pixels: the width of a letter, the height of a line, the half of a mark with its margin."""


@dataclass(frozen=True)
class _Box:
    left: float
    right: float
    middle: float

    def meets(self, other: _Box) -> bool:
        beside = self.right < other.left or other.right < self.left
        return not beside and abs(self.middle - other.middle) < _HIGH


def sides(points: Sequence[PublishedPoint], width: int, height: int) -> list[str]:
    """The side of each point its name is on, "" where neither is free; the accurate ones first.

    `width` and `height` are the pixels that the points spread over.
    """
    across = _pixels([point.share_percent for point in points], width)
    up = _pixels([point.top1_percent for point in points], height)
    taken = [_Box(x - _MARK / 2, x + _MARK / 2, y) for x, y in zip(across, up, strict=True)]
    found = [""] * len(points)
    for at in sorted(range(len(points)), key=lambda each: -up[each]):
        long = _LETTER * len(points[at].method)
        x, y = across[at], up[at]
        right = _Box(x + _MARK, x + _MARK + long, y)
        left = _Box(x - _MARK - long, x - _MARK, y)
        for side, box in (("right", right), ("left", left)):
            if box.left >= 0 and box.right <= width and not any(map(box.meets, taken)):
                taken.append(box)
                found[at] = side
                break
    return found


def _pixels(values: Sequence[float], size: int) -> list[float]:
    low, high = min(values), max(values)
    return [(value - low) / ((high - low) or 1.0) * size for value in values]
