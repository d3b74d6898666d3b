"""Larger patches: the same image, cut into fewer of them."""

from __future__ import annotations

from typing import ClassVar

from keeprate.resizing import Grid, InputMethod, InputSize


class PatchSize(InputMethod):
    """Cuts the same image into larger patches, whose kernel is resized by the pseudo-inverse.

    Source of the kernel: FlexiViT (Beyer et al., CVPR 2023), section 3.4. Positions are resampled
    by the rule of the model's family. A grid must divide the image's sides. `grid` gives its rows
    and columns ("8", "8x7"), else they are solved for the budget; `then` names a method that
    reduces the tokens that are left.
    """

    name: ClassVar[str] = "patch-size"

    def at(self, own: InputSize, grid: Grid) -> InputSize | None:
        """Return the same image in larger patches, None if they do not divide it."""
        if own.image[0] % grid[0] or own.image[1] % grid[1]:
            return None
        return InputSize(own.image, (own.image[0] // grid[0], own.image[1] // grid[1]))
