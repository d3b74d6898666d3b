"""From an image file to a model's input: decoding, a quick check, timm's evaluation transform."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision import io
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from ..backbones.loading.model_input import ModelInput
from ..errors import KeeprateError

INTERPOLATIONS = ("nearest", "bilinear", "bicubic")
CROP_MODES = ("center", "squash", "border")

MOST_ELONGATED = 16
"""Longer over shorter side beyond which a centre crop resizes only the middle of the image."""


@dataclass(frozen=True)
class ImageTransform:
    """A transform in two steps, so that the pixels between them can be kept.

    `crop` resizes and cuts out: (3, H, W) uint8 to (3, *image_size) uint8. `finish` scales and
    normalises: to float32 of the same shape.
    """

    crop: Callable[[Tensor], Tensor]
    finish: Callable[[Tensor], Tensor]

    def __call__(self, image: Tensor) -> Tensor:
        return self.finish(self.crop(image))


def build_transform(spec: ModelInput) -> ImageTransform:
    """Return timm's evaluation transform: (3, H, W) uint8 to (3, *image_size) float32.

    The same sizes, rounding and crops as `timm.data.create_transform`, which resizes with Pillow;
    here tensors are resized, with antialiasing, and few values differ (by 0.003 of 255 in the
    mean). The result can be pickled. KeeprateError for an unknown interpolation or crop mode.
    """
    if spec.interpolation not in INTERPOLATIONS:
        raise KeeprateError(
            f"Interpolation '{spec.interpolation}' is not among {', '.join(INTERPOLATIONS)}."
        )
    if spec.crop_mode not in CROP_MODES:
        raise KeeprateError(f"Crop mode '{spec.crop_mode}' is not among {', '.join(CROP_MODES)}.")
    normalize = v2.Normalize(mean=list(spec.mean), std=list(spec.std))
    finish = v2.Compose([v2.ToDtype(torch.float32, scale=True), normalize])
    return ImageTransform(_ResizeAndCrop(spec), finish)


@dataclass(frozen=True)
class _ResizeAndCrop:
    spec: ModelInput

    def __call__(self, image: Tensor) -> Tensor:
        spec = self.spec
        if spec.crop_mode == "center":
            image = _middle(image)
        image = functional.resize(
            image,
            list(_resized(spec, image.shape[-2], image.shape[-1])),
            interpolation=v2.InterpolationMode(spec.interpolation),
            antialias=True,
        )
        if spec.crop_mode == "border":
            image = _bordered(image, spec)
        cropped: Tensor = functional.center_crop(image, list(spec.image_size))
        return cropped


def _middle(image: Tensor) -> Tensor:
    """Cut the far ends of a very long image off, which the centre crop would drop after resizing.

    A line of 1 x 10000 pixels would otherwise grow to gigabytes. Whole pixels go from both ends
    alike, so that the middle stays where it is.
    """
    height, width = image.shape[-2:]
    longest = MOST_ELONGATED * min(height, width)
    rows = max(0, math.ceil((height - longest) / 2))
    columns = max(0, math.ceil((width - longest) / 2))
    return image[..., rows : height - rows, columns : width - columns]


def _resized(spec: ModelInput, height: int, width: int) -> tuple[int, int]:
    """Height and width to resize to, rounded as timm (and, for square sizes, torchvision) does."""
    goal_height, goal_width = (math.floor(side / spec.crop_pct) for side in spec.image_size)
    if spec.crop_mode == "squash":
        return goal_height, goal_width
    ratios = height / goal_height, width / goal_width
    if spec.crop_mode == "border":
        ratio = max(ratios)
        return max(1, round(height / ratio)), max(1, round(width / ratio))
    if goal_height != goal_width:
        ratio = min(ratios)
        return round(height / ratio), round(width / ratio)
    if height <= width:
        return goal_height, int(goal_height * width / height)
    return int(goal_width * height / width), goal_width


def _bordered(image: Tensor, spec: ModelInput) -> Tensor:
    """Fill with the mean's grey levels up to the image size."""
    rows, columns = (
        max(0, goal - side) for goal, side in zip(spec.image_size, image.shape[-2:], strict=True)
    )
    padding = [columns // 2, rows // 2, (columns + 1) // 2, (rows + 1) // 2]
    padded: Tensor = functional.pad(image, padding, fill=list(spec.fill))
    return padded


def decode(path: Path) -> Tensor:
    """Return an image file's pixels as (3, H, W) uint8 RGB.

    Grey, CMYK and palette images become RGB, transparency is dropped, 16-bit values keep their
    upper byte, of an animation the first image is taken, and EXIF orientation is not applied: as in
    timm's data loading. torchvision decodes what it can, Pillow (the same pixels, slower) the rest.
    KeeprateError where the file cannot be read.
    """
    if problem := _broken_png(path):
        raise KeeprateError(f"Cannot read the image '{path}': {problem}.")
    try:
        data = torch.from_numpy(np.fromfile(path, dtype=np.uint8))
        image: Tensor = io.decode_image(data, mode="RGB")
    except (RuntimeError, OSError, AttributeError):  # newer torchvision may have lost its decoders
        return _decode_with_pillow(path)
    if image.ndim == 4:  # animation: (images, 3, H, W)
        image = image[0]
    if image.dtype == torch.uint16:
        image = (image.to(torch.int32) >> 8).to(torch.uint8)
    return image


def _decode_with_pillow(path: Path) -> Tensor:
    try:
        with Image.open(path) as image:
            pixels = np.array(image.convert("RGB"))  # (H, W, 3)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise KeeprateError(f"Cannot read the image '{path}': {_reason(error)}.") from error
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def header_problem(path: Path) -> str | None:
    """Say what makes an image file unusable, or None: a quick check of its beginning and end.

    Only where the end of the file is not the end of a JPEG or PNG image is the file decoded. Damage
    in the middle of a JPEG is left to `decode`; of a PNG the checksums tell.
    """
    try:
        if path.stat().st_size == 0:
            return "empty file"
        if problem := _broken_png(path):
            return problem
        with Image.open(path) as image:
            if not _ends_well(path, image.format):
                image.load()
    except UnidentifiedImageError:
        return "not an image"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return _reason(error)
    return None


def _broken_png(path: Path) -> str | None:
    """Say what the checksums of a PNG show: torchvision's decoder may crash on damaged files."""
    try:
        with Image.open(path) as image:
            if image.format == "PNG":
                image.verify()
    except UnidentifiedImageError:
        return None  # not Pillow's: whoever decodes it will say what is wrong
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return _reason(error)
    return None


def _ends_well(path: Path, format_: str | None) -> bool:
    """Whether the file ends with the marker that closes a JPEG or PNG image."""
    markers = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82"}
    if format_ not in markers:
        return False
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 8), 2)
        return file.read().endswith(markers[format_])


def _reason(error: Exception) -> str:
    """Return the first line of an error, without the path that the caller names."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
