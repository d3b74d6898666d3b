"""Order published points for figures: by training, their names placed so that none is covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keeprate.analysis.model import PublishedPoint

_LETTER, _HIGH, _MARK = 6.2, 12.0, 8.0
"""In pixels: the width of a letter, the height of a line, half of a mark with its margin."""


@dataclass(frozen=True)
class _Box:
    left: float
    right: float
    middle: float

    def meets(self, other: _Box) -> bool:
        beside = self.right < other.left or other.right < self.left
        return not beside and abs(self.middle - other.middle) < _HIGH


def by_training(points: Sequence[PublishedPoint]) -> dict[str, list[PublishedPoint]]:
    """Return the points whose cost is known, by training: each is drawn on axes of its own."""
    drawn: dict[str, list[PublishedPoint]] = {}
    for point in points:
        if point.share_percent is not None:
            drawn.setdefault(point.training, []).append(point)
    return drawn


def sides(points: Sequence[PublishedPoint], width: int, height: int) -> list[str]:
    """Return the side of each point that its name is on, "" where neither side is free.

    The most accurate points choose first. `width` and `height` are the pixels that the points
    spread over. All points have a share.
    """
    across = _pixels([point.share_percent or 0.0 for point in points], width)
    up = _pixels([point.top1_percent for point in points], height)
    occupied = [_Box(x - _MARK / 2, x + _MARK / 2, y) for x, y in zip(across, up, strict=True)]
    sides_of_points = [""] * len(points)
    for index in sorted(range(len(points)), key=lambda index: -up[index]):
        name_width = _LETTER * len(points[index].method)
        x, y = across[index], up[index]
        right = _Box(x + _MARK, x + _MARK + name_width, y)
        left = _Box(x - _MARK - name_width, x - _MARK, y)
        for side, box in (("right", right), ("left", left)):
            if box.left >= 0 and box.right <= width and not any(map(box.meets, occupied)):
                occupied.append(box)
                sides_of_points[index] = side
                break
    return sides_of_points


def _pixels(values: Sequence[float], size: int) -> list[float]:
    low, high = min(values), max(values)
    # equal values all go to the low end
    return [(value - low) / ((high - low) or 1.0) * size for value in values]
