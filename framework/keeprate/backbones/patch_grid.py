"""The grids of numbers that convolutions make, and what they cost."""

from __future__ import annotations

import math
from typing import TypeAlias, cast

from torch import nn

Grid: TypeAlias = tuple[int, int]
"""Rows and columns."""


def whole(grid: Grid, image_size: tuple[int, int]) -> Grid | None:
    """Return `grid` if it divides an image of (height, width) pixels evenly, None otherwise."""
    sizes = zip(image_size, grid, strict=True)
    return None if any(size % parts for size, parts in sizes) else grid


def grid_of_positions(number: int, own: Grid, asked: Grid) -> Grid | None:
    """Return the grid that `number` trained positions were made for, None if nothing says which.

    Weights tell only how many there are. It is the model's `own` grid if that has as many, else a
    square, else the grid `asked` for.
    """
    side = math.isqrt(max(number, 0))
    grids = (own, (side, side), asked)
    return next((grid for grid in grids if grid[0] * grid[1] == number), None)


def output_grid(convolution: nn.Conv2d, grid: Grid) -> Grid:
    """Return the grid that a convolution without dilation makes of another."""
    padding = cast(Grid, convolution.padding)
    sizes = zip(grid, convolution.kernel_size, convolution.stride, padding, strict=True)
    rows, columns = ((size + 2 * pad - kernel) // step + 1 for size, kernel, step, pad in sizes)
    return rows, columns


def convolution_macs(convolution: nn.Conv2d, output: Grid) -> int:
    """Return the multiply-accumulates of a convolution that makes the grid `output`."""
    return output[0] * output[1] * convolution.weight.numel()
