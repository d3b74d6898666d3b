"""Fewer pixels: the image itself is made smaller."""

from __future__ import annotations

from typing import ClassVar

from keeprate.resizing import Grid, InputMethod, InputSize


class Downsample(InputMethod):
    """Shows the model the whole image at fewer pixels, in patches of its own size.

    The baseline that needs no method. Images are rendered at the smaller size from the decoded
    original; positions are resampled by the rule of the model's family. `grid` gives the rows and
    columns of patches ("12", "12x11"), else they are solved for the budget; `then` names a method
    that reduces the tokens that are left.
    """

    name: ClassVar[str] = "downsample"

    def at(self, own: InputSize, grid: Grid) -> InputSize:
        """Return a smaller image of patches as they are."""
        return InputSize((grid[0] * own.patch[0], grid[1] * own.patch[1]), own.patch)
