"""Pictures of one image at one moment: which patches survive, which merged, what matters."""

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

_FOG: Final = 0.8
"""The share of grey in a dropped patch."""
_GREY: Final = 190
_HEAT: Final = 0.65
"""The share of its colour in a patch of an importance map."""


def enlarged(crop: Pixels, side: int) -> Pixels:
    """Return `crop` enlarged by the whole number that brings its longer side nearest to `side`."""
    factor = max(1, round(side / max(crop.shape[:2])))
    return crop.repeat(factor, axis=0).repeat(factor, axis=1)


def survivors_picture(pixels: Pixels, owners: Owners) -> Pixels:
    """Return an image whose dropped patches are dimmed and whose merged groups are outlined.

    `owners` (rows, columns) are the tokens the patches live in, -1 for dropped ones. Patches of one
    token are outlined together, in a colour unlike their neighbours', with an edge of black or
    white inside; a token of one patch is not.
    """
    drawn = pixels.copy()
    for row, column, box in _boxes(pixels, owners.shape):
        if owners[row, column] < 0:
            drawn[box] = _dimmed(pixels[box])
    colours = group_colours(owners)
    line = _line(pixels, owners.shape)
    for row, column, box in _boxes(pixels, owners.shape):
        if owners[row, column] in colours:
            _outline(drawn[box], owners, (row, column), colours[int(owners[row, column])], line)
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
            drawn[box] = _mixed(grey[box], heat(ranks[row, column]), _HEAT)
    return drawn


def _ranks(importance: Importance) -> Importance:
    """Return each patch's rank, 0 for the least important to 1; equal ones share theirs.

    Ranks are what decides who is kept, and they make maps of any two methods comparable.
    """
    known = np.sort(importance[~np.isnan(importance)])
    below = np.searchsorted(known, importance, side="left")
    equal_too = np.searchsorted(known, importance, side="right")
    middle = (below + equal_too - 1) / 2
    ranks = middle / (known.size - 1) if known.size > 1 else np.full(importance.shape, 0.5)
    return np.where(np.isnan(importance), np.nan, ranks)


def _boxes(pixels: Pixels, grid: tuple[int, ...]) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Yield every patch's row, column and place in the image."""
    downs, acrosses = _cuts(pixels.shape[0], grid[0]), _cuts(pixels.shape[1], grid[1])
    for row, down in enumerate(downs):
        for column, across in enumerate(acrosses):
            yield row, column, (down, across)


def _cuts(length: int, parts: int) -> list[slice]:
    edges = [round(length * part / parts) for part in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def _line(pixels: Pixels, grid: tuple[int, ...]) -> int:
    """Return the pixels an outline is wide: an eighth of a patch."""
    height, width = (int(pixels.shape[axis]) // grid[axis] for axis in (0, 1))
    return max(1, min(height, width) // 8)


def _outline(
    patch: Pixels, owners: Owners, place: tuple[int, int], colour: Colour, line: int
) -> None:
    """Draw the sides of a patch that its group ends at, and an edge inside them."""
    for width, painted in ((line + line // 2, edging(colour)), (line, colour)):
        sides = {
            (-1, 0): np.s_[:width, :],
            (1, 0): np.s_[-width:, :],
            (0, -1): np.s_[:, :width],
            (0, 1): np.s_[:, -width:],
        }
        for (down, across), side in sides.items():
            if _owner_at(owners, place[0] + down, place[1] + across) != owners[place]:
                patch[side] = painted


def _owner_at(owners: Owners, row: int, column: int) -> int:
    """Return the token of a patch, -1 outside the image."""
    rows, columns = owners.shape
    inside = 0 <= row < rows and 0 <= column < columns
    return int(owners[row, column]) if inside else -1


def _dimmed(patch: Pixels) -> Pixels:
    return _mixed(_luminance(patch), np.full(3, _GREY), _FOG)


def _luminance(pixels: Pixels) -> Pixels:
    """Return the image in grey (ITU-R BT.601)."""
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, axis=-1)


def _mixed(pixels: Pixels, colour: NDArray[Any], share: float) -> Pixels:
    """Return pixels with a `share` of one colour."""
    mixed: Pixels = ((1 - share) * pixels + share * colour).round().astype(np.uint8)
    return mixed
