"""Draws a whole digit among fragments of others, in whole numbers: the same on every machine."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

DIGIT_SIZE = 24
_FRAGMENT_SIZES = (8, 13)
_CELL = 8
_STEP = 4
"""Between the places of a digit: the side of a patch, so that a ViT sees it alike everywhere."""


class Clutter(NamedTuple):
    """What surrounds a digit."""

    fewest: int
    """Fewest fragments of other digits."""
    most: int
    """Most fragments; every number from `fewest` to `most` is as likely."""
    smooth_noise: int
    """Largest grey value of the noise that changes slowly, over eight pixels."""
    fine_noise: int
    """Largest grey value of the noise of each pixel."""
    margin: int = 0
    """Pixels around the square of the digit that fragments keep off as well."""


class Draws:
    """Whole numbers drawn from a text.

    They come from SHAKE-256, two bytes each, since its output never changes, as that of a library's
    random numbers may.
    """

    def __init__(self, text: str, count: int) -> None:
        digest = hashlib.shake_256(text.encode()).digest(2 * count)
        self._numbers = np.frombuffer(digest, dtype="<u2").astype(np.int64)
        self._used = 0

    def below(self, limit: int, count: int) -> np.ndarray:
        """Return the next `count` numbers, each from 0 to `limit` - 1."""
        self._used += count
        return self._numbers[self._used - count : self._used] % limit

    def one_below(self, limit: int) -> int:
        """Return the next number, from 0 to `limit` - 1."""
        return int(self.below(limit, 1)[0])


def enlarged_digits(images: np.ndarray) -> np.ndarray:
    """Enlarge grey digits (N, 8, 8) with values 0..16 three times: (N, 24, 24), values 0..255.

    Between the centres of the pixels values change linearly, in thirds, and are rounded half up.
    """
    place = (np.arange(DIGIT_SIZE) - 1).clip(0, DIGIT_SIZE - 3)  # in thirds of a pixel
    low, part = place // 3, place % 3
    high = np.minimum(low + 1, 7)
    values = images.astype(np.int64)
    rows = values[:, low] * (3 - part)[:, None] + values[:, high] * part[:, None]
    both = rows[:, :, low] * (3 - part) + rows[:, :, high] * part  # 0..144
    large: np.ndarray = (both * 255 + 72) // 144
    return large.astype(np.uint8)


def cluttered(digits: np.ndarray, index: int, clutter: Clutter, size: int, seed: str) -> np.ndarray:
    """Draw `digits[index]` at a random place among fragments of the others, on noise.

    `digits` are those of `enlarged_digits`, `size` is the side of the image in pixels, a multiple
    of eight; an image is decided by these and by `seed`. Fragments keep off the square of the
    digit and its margin, so that it is whole. Returns the grey image (size, size), uint8.
    """
    cells = size // _CELL + 1
    draws = Draws(seed, cells * cells + size * size + 3 + 6 * clutter.most)
    image = _smooth(draws.below(clutter.smooth_noise + 1, cells * cells).reshape(cells, cells))
    image += draws.below(clutter.fine_noise + 1, size * size).reshape(size, size)
    top, left = _STEP * draws.below((size - DIGIT_SIZE) // _STEP + 1, 2)
    square = image[top : top + DIGIT_SIZE, left : left + DIGIT_SIZE]
    above, before = max(0, top - clutter.margin), max(0, left - clutter.margin)
    end = DIGIT_SIZE + clutter.margin
    free = image[above : top + end, before : left + end]
    noise = free.copy()
    for _ in range(clutter.fewest + draws.one_below(clutter.most - clutter.fewest + 1)):
        _add_fragment(image, digits, draws)
    free[:] = noise
    np.maximum(square, digits[index], out=square)
    return image.clip(0, 255).astype(np.uint8)


def _smooth(corners: np.ndarray) -> np.ndarray:
    """Return values between the corners of cells of eight pixels: (C, C) -> (8C - 8, 8C - 8)."""
    place = np.arange((len(corners) - 1) * _CELL)
    cell, part = place // _CELL, place % _CELL
    rows = corners[cell] * (_CELL - part)[:, None] + corners[cell + 1] * part[:, None]
    both: np.ndarray = rows[:, cell] * (_CELL - part) + rows[:, cell + 1] * part
    return both // (_CELL * _CELL)


def _add_fragment(image: np.ndarray, digits: np.ndarray, draws: Draws) -> None:
    """Add a square piece of a random digit at a random place, which may be cut by the border."""
    smallest, largest = _FRAGMENT_SIZES
    side = smallest + draws.one_below(largest - smallest + 1)
    from_top, from_left = draws.below(DIGIT_SIZE - side + 1, 2)
    piece = digits[draws.one_below(len(digits))][
        from_top : from_top + side, from_left : from_left + side
    ]
    top, left = draws.below(len(image) - side + 1, 2)
    part = image[top : top + side, left : left + side]
    np.maximum(part, piece, out=part)
