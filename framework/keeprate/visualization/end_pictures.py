"""What runs leave of an image in the end: a small picture for each run, and what it shows."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image

from ..results.picture_index import PicturedEnd
from .colours import Owners, merged_groups
from .patch_pictures import Pixels, survivors_picture
from .token_sheet import SheetLayout, resized, tokens_left
from .token_tracks import ImageTrace, MethodTrace

_LAYOUT: Final = SheetLayout(panel_pixels=224)
_COLOURS: Final = 128
_WEBP_QUALITY: Final = 80


def end_pictures(trace: ImageTrace) -> tuple[str, list[bytes]]:
    """Return the suffix of the files and their contents: the input, then what each run leaves.

    An image that is enlarged stays sharp to the pixel, as PNG; any other is WebP.
    """
    pixels = resized(trace.crop, _LAYOUT)
    suffix = ".png" if pixels.shape[0] > trace.crop.shape[0] else ".webp"
    ends = [survivors_picture(pixels, end_owners(trace, track)) for track in trace.tracks]
    return suffix, [_encode(picture, suffix) for picture in (pixels, *ends)]


def end_owners(trace: ImageTrace, track: MethodTrace) -> Owners:
    """Return the token that each patch lives in after the last stage of a run."""
    stages = [moment for moment in track.moments if not moment.came_back]
    if stages:
        return stages[-1].owners
    rows, columns = track.grid or trace.grid
    return np.arange(rows * columns).reshape(rows, columns)


def described_end(owners: Owners, file: str) -> PicturedEnd:
    """Return how many patches were dropped, set aside and merged, and in how many tokens."""
    return PicturedEnd(
        patches=int(owners.size),
        tokens=tokens_left(owners),
        dropped=int((owners == -1).sum()),
        aside=int((owners < -1).sum()),
        merged=int(np.isin(owners, merged_groups(owners)).sum()),
        file=file,
    )


def _encode(pixels: Pixels, suffix: str) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(pixels)
    if suffix == ".png":
        # without dithering flat colours stay flat, which PNG stores in few bytes
        picture = picture.quantize(_COLOURS, dither=Image.Dither.NONE)
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.save(buffer, "WEBP", quality=_WEBP_QUALITY)
    return buffer.getvalue()
