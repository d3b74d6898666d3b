"""How much of a batch is computed at a time, once memory has run out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


class BatchSplitter:
    """Halves what is computed at a time whenever it did not fit: first the images, then the runs.

    Fewer images at a time keep what runs share; only where a single image does not fit are the
    runs split into groups that share less.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.parts = 1

    def slices(self, count: int) -> Iterator[slice]:
        """Split `count` images into parts that are computed at a time."""
        for start in range(0, count, self.images):
            yield slice(start, start + self.images)

    def groups(self, names: Sequence[str]) -> list[list[str]]:
        """Split runs into groups that are computed at a time, in their order."""
        size = max(1, -(-len(names) // self.parts))
        return [list(names[start : start + size]) for start in range(0, len(names), size)]

    def is_smallest(self, images: int, runs: int) -> bool:
        """Tell whether there is nothing left to halve."""
        return images == 1 and runs == 1

    def shrink(self, runs: int) -> str:
        """Halve the images or the runs computed at a time, and say so in one line."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if self.images > 1:
            self.images = -(-self.images // 2)
            return f"Out of memory: from here on {self.images} images are computed at a time."
        self.parts = min(2 * self.parts, max(runs, 2))
        return f"Out of memory: from here on the runs are computed in {self.parts} groups."
