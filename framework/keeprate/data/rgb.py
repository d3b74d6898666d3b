"""Pixels of any kind of image as 8-bit RGB, as timm's data loading has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262
"""Tags of a TIFF file."""
_WHITE_IS_ZERO = 0


def rgb_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Return the pixels (H, W, 3) of an image that Pillow opened.

    They are Pillow's own, as in timm, but for grey images of more than 8 bits, which Pillow makes
    white: whole numbers keep their upper byte, and 0 to 1 becomes 0 to 255. Raises ValueError for
    numbers whose range is not known, and OSError for what cannot be decoded.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        tags: Any = getattr(image, "tag_v2", {})
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            raise ValueError("grey values in which 0 is white: save it with 0 as black")
        bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
        grey = _of_fractions(image) if image.mode == "F" else _upper_byte(image, bits)
        return np.repeat(grey[..., None], 3, axis=2)
    # only its colour would be looked for, with a warning; the pixels are the same
    image.info.pop("transparency", None)
    return np.array(image.convert("RGB"))


def _upper_byte(image: Image.Image, bits: int) -> NDArray[np.uint8]:
    """Return the upper byte (H, W) of grey values with 9 to 16 bits."""
    # Pillow spreads a PGM file's values over 16 bits, and calls them 32-bit
    if image.mode == "I" and image.format not in ("PPM", "PNG"):
        raise ValueError("grey values of 32 bits or with a sign: save it with 8 or 16 bits")
    values: NDArray[Any] = np.asarray(image)  # (H, W)
    grey: NDArray[np.uint8] = (values >> (bits - 8)).astype(np.uint8)
    return grey


def _of_fractions(image: Image.Image) -> NDArray[np.uint8]:
    """Return floating-point values from 0 to 1 as 0 to 255, (H, W)."""
    values: NDArray[Any] = np.asarray(image)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            "floating-point grey values that are not all from 0 to 1: save it with 8 or 16 bits"
        )
    grey: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
    return grey
