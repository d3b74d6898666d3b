"""Turn image files into a model's inputs: decoding, timm's evaluation transform."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
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
from ..request import INTERPOLATIONS
from .codec_warnings import codec_warnings
from .rgb import rgb_pixels

CROP_MODES = ("center", "squash", "border")

MOST_ELONGATED = 16
"""The ratio of longer to shorter side above which only the middle of an image is resized."""


@dataclass(frozen=True)
class ImageTransform:
    """A transform in two steps, so that the pixels between them can be kept on disk.

    `crop` resizes and cuts out: (3, H, W) uint8 to (3, *image_size) uint8. `finish` scales and
    normalises: to float32 of the same shape.
    """

    crop: Callable[[Tensor], Tensor]
    finish: Callable[[Tensor], Tensor]

    def __call__(self, image: Tensor) -> Tensor:
        return self.finish(self.crop(image))


def build_transform(spec: ModelInput, size: tuple[int, int] | None = None) -> ImageTransform:
    """Return timm's evaluation transform: (3, H, W) uint8 to (3, *image_size) float32.

    With a `size`, it shows the same part of the image at another height and width: as a model of
    that size would see it where the sides are in proportion, squeezed where they are not.

    Sizes, rounding and crops are those of `timm.data.create_transform`, which resizes with Pillow.
    Here tensors are resized, with antialiasing, and few values differ (by 0.003 of 255 in the
    mean). The result can be pickled. Raises KeeprateError for an unknown interpolation or crop
    mode.
    """
    if spec.interpolation not in INTERPOLATIONS:
        raise KeeprateError(
            f"Interpolation '{spec.interpolation}' is not among {', '.join(INTERPOLATIONS)}."
        )
    if spec.crop_mode not in CROP_MODES:
        raise KeeprateError(f"Crop mode '{spec.crop_mode}' is not among {', '.join(CROP_MODES)}.")
    normalize = v2.Normalize(mean=list(spec.mean), std=list(spec.std))
    finish = v2.Compose([v2.ToDtype(torch.float32, scale=True), normalize])
    return ImageTransform(_ResizeAndCrop(spec, size or spec.image_size), finish)


def resized_image(image: Tensor, size: tuple[int, int], spec: ModelInput) -> Tensor:
    """Return an image (..., H, W) at another height and width, resized as the transform does."""
    resized: Tensor = functional.resize(
        image,
        list(size),
        interpolation=v2.InterpolationMode(spec.interpolation),
        antialias=True,
    )
    return resized


@dataclass(frozen=True)
class _ResizeAndCrop:
    """The first step of the transform; a class, since a closure cannot be pickled for workers."""

    spec: ModelInput
    size: tuple[int, int]

    def __call__(self, image: Tensor) -> Tensor:
        spec = self.spec
        if spec.crop_mode == "center":
            image = _cut_to_middle(image)
        image = resized_image(image, self._goal(image.shape[-2], image.shape[-1]), spec)
        if spec.crop_mode == "border":
            image = _add_border(image, replace(spec, image_size=self.size))
        cropped: Tensor = functional.center_crop(image, list(self.size))
        return cropped

    def _goal(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width to resize to, each as if the other side went with it."""
        rows, columns = self.spec.image_size
        tall, wide = self.size
        by_height = replace(self.spec, image_size=(tall, round(tall * columns / rows)))
        by_width = replace(self.spec, image_size=(round(wide * rows / columns), wide))
        return _resize_goal(by_height, height, width)[0], _resize_goal(by_width, height, width)[1]


def _cut_to_middle(image: Tensor) -> Tensor:
    """Cut off the far ends of a very long image, which the centre crop would drop after resizing.

    A line of 1 x 10000 pixels would otherwise grow to gigabytes. The same number of whole pixels is
    cut from both ends, so that the middle stays the middle.
    """
    height, width = image.shape[-2:]
    longest = MOST_ELONGATED * min(height, width)
    rows = max(0, math.ceil((height - longest) / 2))
    columns = max(0, math.ceil((width - longest) / 2))
    return image[..., rows : height - rows, columns : width - columns]


def _resize_goal(spec: ModelInput, height: int, width: int) -> tuple[int, int]:
    """Return the height and width to resize an image of `height` and `width` to.

    They are rounded as in timm and, for square sizes, in torchvision.
    """
    goal_height, goal_width = (math.floor(side / spec.crop_pct) for side in spec.image_size)
    if spec.crop_mode == "squash":
        return goal_height, goal_width
    ratios = height / goal_height, width / goal_width
    if spec.crop_mode == "border":
        ratio = max(ratios)
        # a very thin image would round to a side of 0 pixels
        return max(1, round(height / ratio)), max(1, round(width / ratio))
    if goal_height != goal_width:
        ratio = min(ratios)
        return round(height / ratio), round(width / ratio)
    # square: timm leaves it to torchvision, which rounds down
    if height <= width:
        return goal_height, int(goal_height * width / height)
    return int(goal_width * height / width), goal_width


def _add_border(image: Tensor, spec: ModelInput) -> Tensor:
    """Pad an image to the image size with the grey levels of the mean."""
    rows, columns = (
        max(0, goal - side) for goal, side in zip(spec.image_size, image.shape[-2:], strict=True)
    )
    # left, top, right, bottom: an odd pixel goes to the right or the bottom
    padding = [columns // 2, rows // 2, (columns + 1) // 2, (rows + 1) // 2]
    padded: Tensor = functional.pad(image, padding, fill=list(spec.fill))
    return padded


def decode(path: Path) -> Tensor:
    """Return an image file's pixels as (3, H, W) uint8 RGB.

    As in timm's data loading, grey, CMYK and palette images become RGB, transparency is dropped,
    the first image of an animation is taken, and EXIF orientation is not applied. 16-bit values
    keep their upper byte, and floating-point ones from 0 to 1 become 0 to 255. Raises KeeprateError
    where the file cannot be read, is damaged as far as its format shows, or has grey values whose
    range is not known.
    """
    problem = ""
    with codec_warnings() as heard:
        try:
            pixels = read_pixels(path)
        except UNREADABLE as error:
            problem = reason(path, error)
    if problem or heard.damage:
        raise KeeprateError(f"Cannot read the image '{path}': {problem or heard.damage}.")
    return pixels


UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
"""What `read_pixels` raises: Pillow has a SyntaxError for a damaged header, and a bomb error for
more pixels than it trusts."""


def read_pixels(path: Path) -> Tensor:
    """Return what `decode` does, but raise one of UNREADABLE for a file that cannot be read.

    Damage in the data of a JPEG or TIFF file may only show in what its library says meanwhile
    (`codec_warnings`).
    """
    with Image.open(path) as image:
        if image.format == "PNG":
            image.verify()  # the checksums, without which damage in the middle is decoded
        elif image.format in ("JPEG", "MPO"):
            return _read_jpeg(path, image)
        else:
            return _channels_first(image)
    with Image.open(path) as image:  # once verified, it cannot be decoded
        return _channels_first(image)


def _read_jpeg(path: Path, image: Image.Image) -> Tensor:
    """Return the pixels of a JPEG by torchvision: those of Pillow, which is slower."""
    try:
        data = torch.from_numpy(np.fromfile(path, dtype=np.uint8))
        pixels: Tensor = io.decode_image(data, mode="RGB")
    except (RuntimeError, AttributeError):  # newer torchvision may have lost its decoders
        return _channels_first(image)
    # CMYK only goes through torchvision for its damage to be heard of
    return pixels if image.mode in ("L", "RGB") else _channels_first(image)


def _channels_first(image: Image.Image) -> Tensor:
    return torch.from_numpy(rgb_pixels(image)).permute(2, 0, 1).contiguous()


def reason(path: Path, error: Exception) -> str:
    """Return in one line why a file cannot be read, without the path that the caller names."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image" if path.stat().st_size else "empty file"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
