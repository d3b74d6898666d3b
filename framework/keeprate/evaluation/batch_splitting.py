"""Splits batches into smaller parts, once memory has run out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


class BatchSplitter:
    """Halves what is computed at a time when memory runs out: first the images, then the runs.

    With fewer images at a time the runs still share their common blocks. Only when a single image
    does not fit, the runs are split into groups, which share less.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.parts = 1

    def slices(self, count: int) -> Iterator[slice]:
        """Split `count` images into slices; one slice is computed at a time."""
        for start in range(0, count, self.images):
            yield slice(start, start + self.images)

    def groups(self, names: Sequence[str]) -> list[list[str]]:
        """Split runs into groups, in their order; one group is computed at a time."""
        # rounded up, so that there are never more than `parts` groups
        size = max(1, -(-len(names) // self.parts))
        return [list(names[start : start + size]) for start in range(0, len(names), size)]

    def is_smallest(self, images: int, runs: int) -> bool:
        """Tell whether neither the images nor the runs can be halved any more."""
        return images == 1 and runs == 1

    def shrink(self, runs: int) -> str:
        """Halve the images or the runs computed at a time; return one line that says so."""
        if torch.cuda.is_available():
            # blocks cached in the sizes of the failed batch may not fit the smaller one
            torch.cuda.empty_cache()
        if self.images > 1:
            self.images = -(-self.images // 2)
            return f"Out of memory: from here on {self.images} images are computed at a time."
        self.parts = min(2 * self.parts, max(runs, 2))
        return f"Out of memory: from here on the runs are computed in {self.parts} groups."
