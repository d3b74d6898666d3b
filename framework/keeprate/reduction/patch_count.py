"""Follows the number of patch tokens through the stages of a method, those that come back too."""

from __future__ import annotations

from ..method import Method


class PatchCount:
    """How many patch tokens there are, from `patches` on, while the stages of a method act."""

    def __init__(self, method: Method, patches: int) -> None:
        self.method, self.patches, self.left = method, patches, patches
        self._block = 0

    def entering(self, block: int) -> int:
        """Return how many enter `block`; blocks are asked for in their order."""
        if any(self._block < back <= block for back in self.method.back):
            self.left = self.patches
        self._block = block
        return self.left

    def reduce(self, keep: int) -> None:
        """Count a stage that keeps `keep` at the block that was asked for last."""
        self.left = self.method.left_after(self.left, keep)

    @property
    def at_head(self) -> int:
        """How many reach the head: all that were set aside are back."""
        return self.patches if self.method.skips else self.left
