"""Pictures of one image after one stage: which patches survive, merge and matter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .colours import Colour, Owners, edging, group_colours, heat

Pixels: TypeAlias = NDArray[np.uint8]
"""An image, (H, W, 3) RGB."""
Importance: TypeAlias = NDArray[np.floating[Any]]
"""A number for each patch, (rows, columns); NaN where the patch was dropped before."""

_GREY_SHARE: Final = 0.8
"""The share of grey in a dropped patch."""
_GREY: Final = 190
_HEAT_SHARE: Final = 0.65
"""The share of its colour in a patch of an importance map."""


def enlarged(crop: Pixels, side: int) -> Pixels:
    """Return `crop` enlarged by the whole number that brings its longer side nearest to `side`."""
    factor = max(1, round(side / max(crop.shape[:2])))
    # whole pixels are repeated: an interpolated picture would show what the model never saw
    return crop.repeat(factor, axis=0).repeat(factor, axis=1)


def survivors_picture(pixels: Pixels, owners: Owners) -> Pixels:
    """Return an image whose dropped patches are dimmed and whose merged groups are outlined.

    `owners` (rows, columns) are the tokens the patches live in, below 0 for patches that were
    dropped or are aside. Patches of one token are outlined together in a colour that differs from
    their neighbours', with a black or white edge inside the line. A token of one patch has no
    outline.
    """
    drawn = pixels.copy()
    for row, column, box in _boxes(pixels, owners.shape):
        if owners[row, column] < 0:
            drawn[box] = _dimmed(pixels[box])
    colours = group_colours(owners)
    width = _outline_width(pixels, owners.shape)
    for row, column, box in _boxes(pixels, owners.shape):
        if owners[row, column] in colours:
            _outline(drawn[box], owners, (row, column), colours[int(owners[row, column])], width)
    return drawn


def importance_picture(pixels: Pixels, importance: Importance) -> Pixels:
    """Return an image under a heat map of its patches' importance; dropped patches are dimmed.

    Colours go by rank, from the least to the most important patch.
    """
    ranks = _ranks(importance)
    grey = _luminance(pixels)
    drawn = pixels.copy()
    for row, column, box in _boxes(pixels, importance.shape):
        if np.isnan(ranks[row, column]):
            drawn[box] = _dimmed(pixels[box])
        else:
            drawn[box] = _mixed(grey[box], heat(ranks[row, column]), _HEAT_SHARE)
    return drawn


def _ranks(importance: Importance) -> Importance:
    """Return each patch's rank, from 0 (least important) to 1; equal patches have equal ranks.

    Ranks are what decides who is kept, and they make maps of any two methods comparable.
    """
    values = np.sort(importance[~np.isnan(importance)])
    below = np.searchsorted(values, importance, side="left")
    equal_too = np.searchsorted(values, importance, side="right")
    # equal patches get the middle of the ranks they take up together
    middle = (below + equal_too - 1) / 2
    ranks = middle / (values.size - 1) if values.size > 1 else np.full(importance.shape, 0.5)
    return np.where(np.isnan(importance), np.nan, ranks)


def _boxes(pixels: Pixels, grid: tuple[int, ...]) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Yield every patch's row, its column and the slices of its pixels in the image."""
    downs, acrosses = _slices(pixels.shape[0], grid[0]), _slices(pixels.shape[1], grid[1])
    for row, down in enumerate(downs):
        for column, across in enumerate(acrosses):
            yield row, column, (down, across)


def _slices(length: int, parts: int) -> list[slice]:
    # rounded edges: patches of a resized image may differ by a pixel, but leave no gap
    edges = [round(length * part / parts) for part in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _outline_width(pixels: Pixels, grid: tuple[int, ...]) -> int:
    """Return the width of an outline in pixels: an eighth of a patch."""
    height, width = (int(pixels.shape[axis]) // grid[axis] for axis in (0, 1))
    return max(1, min(height, width) // 8)


def _outline(
    patch: Pixels, owners: Owners, position: tuple[int, int], colour: Colour, line_width: int
) -> None:
    """Draw the sides of a patch at which its group ends, with an edge inside them."""
    # the wider edge goes first: the line then covers all but its inner part
    for width, line_colour in (
        (line_width + line_width // 2, edging(colour)),
        (line_width, colour),
    ):
        sides = {
            (-1, 0): np.s_[:width, :],
            (1, 0): np.s_[-width:, :],
            (0, -1): np.s_[:, :width],
            (0, 1): np.s_[:, -width:],
        }
        for (down, across), side in sides.items():
            if _owner_at(owners, position[0] + down, position[1] + across) != owners[position]:
                patch[side] = line_colour


def _owner_at(owners: Owners, row: int, column: int) -> int:
    """Return the token of a patch, -1 outside the image."""
    rows, columns = owners.shape
    inside = 0 <= row < rows and 0 <= column < columns
    return int(owners[row, column]) if inside else -1


def _dimmed(patch: Pixels) -> Pixels:
    return _mixed(_luminance(patch), np.full(3, _GREY), _GREY_SHARE)


def _luminance(pixels: Pixels) -> Pixels:
    """Return the image in grey (ITU-R BT.601)."""
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=-1)


def _mixed(pixels: Pixels, colour: NDArray[Any], share: float) -> Pixels:
    """Return pixels with a `share` of one colour."""
    mixed: Pixels = ((1 - share) * pixels + share * colour).round().astype(np.uint8)
    return mixed
