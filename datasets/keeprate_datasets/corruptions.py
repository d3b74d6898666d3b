"""Corruptions of photographs in five severities, with ImageNet-C's parameters where it has them.

Source: Hendrycks and Dietterich 2019, "Benchmarking Neural Network Robustness to Common Corruptions
and Perturbations", ICLR, and the code of its data set ImageNet-C; the parameters are for images of
224 pixels. `occlusion` is not in it: Naseer et al. 2021, "Intriguing Properties of Vision
Transformers", NeurIPS, drop patches of images at random.

All but the compression of `jpeg` is computed here and in whole numbers where sums are long, so that
pixels depend on no library's version; random numbers come from NumPy's frozen generator.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image

Kind: TypeAlias = Literal[
    "gaussian-noise",
    "shot-noise",
    "defocus-blur",
    "motion-blur",
    "jpeg",
    "brightness",
    "contrast",
    "pixelate",
    "occlusion",
]
Severity: TypeAlias = Literal[1, 2, 3, 4, 5]
Pixels: TypeAlias = NDArray[np.uint8]

SIZE: Final = 224
"""Pixels of the shorter side of the images that the parameters are for."""
VERSION: Final = 1
"""Raised whenever a change here changes a pixel: other images make other runs."""

NOISE: Final = (0.08, 0.12, 0.18, 0.26, 0.38)
"""Standard deviations, where white is 1."""
PHOTONS: Final = (60, 25, 12, 5, 3)
"""Photons that a white pixel stands for."""
DEFOCUS: Final = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
"""Radius of the disk, and the standard deviation that its edge is softened by, in pixels."""
MOTION: Final = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
"""Half the length of the track, and the standard deviation of its weights, in pixels."""
QUALITY: Final = (25, 18, 15, 10, 7)
BRIGHTNESS: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Added to the value (of hue, saturation, value), where white is 1."""
CONTRAST: Final = (0.4, 0.3, 0.2, 0.1, 0.05)
"""What is left of the distance from the mean colour."""
PIXELATE: Final = (0.6, 0.5, 0.4, 0.3, 0.25)
"""Pixels left along a side."""
OCCLUDED: Final = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Share of the patches that are hidden."""
PATCH: Final = 16
"""Side of a hidden patch, in pixels."""
GREY: Final = 128

_ONE: Final = 1 << 16
"""What the weights of a blur sum to."""


def corrupt(pixels: Pixels, kind: Kind, severity: Severity, sample: str) -> Pixels:
    """Return pixels (H, W, 3) corrupted; chance depends on the other arguments alone."""
    text = f"{kind}\0{severity}\0{sample}".encode("utf-8", "surrogateescape")
    seed = np.frombuffer(hashlib.sha256(text).digest(), dtype="<u4")
    return CORRUPTIONS[kind](pixels, severity - 1, RandomState(seed))


def gaussian_noise(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Add noise from a normal distribution, apart for each value."""
    return _rounded(pixels / 255 + random.normal(scale=NOISE[level], size=pixels.shape))


def shot_noise(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Count photons, whose number is from a Poisson distribution."""
    return _rounded(random.poisson(pixels / 255 * PHOTONS[level]) / PHOTONS[level])


def defocus_blur(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Spread every pixel over a disk with a softened edge; the image is mirrored at its borders."""
    radius, deviation = DEFOCUS[level]
    soft = 1 if radius <= 8 else 2
    line = np.arange(-radius - soft, radius + soft + 1)
    disk = (line[:, None] ** 2 + line**2 <= radius**2).astype(np.float64)
    edge = np.exp(-(np.arange(-soft, soft + 1) ** 2) / (2 * deviation**2))
    for axis in (0, 1):
        disk = np.apply_along_axis(np.convolve, axis, disk, edge, mode="same")
    return _blurred(pixels, disk, "reflect")


def motion_blur(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Smear every pixel along a line up to 45 degrees from level, less and less to its end.

    As ImageMagick's motion blur, which the benchmark uses: one half of a bell, and borders that
    go on.
    """
    radius, deviation = MOTION[level]
    angle = np.deg2rad(random.uniform(-45, 45))
    steps = np.arange(2 * radius + 1)
    rows, columns = (np.floor(steps * way + 0.5) for way in (np.sin(angle), np.cos(angle)))
    weights = np.zeros((4 * radius + 1, 4 * radius + 1))
    places = (2 * radius + rows.astype(int), 2 * radius + columns.astype(int))
    np.add.at(weights, places, np.exp(-(steps**2) / (2 * deviation**2)))
    return _blurred(pixels, weights, "edge")


def jpeg(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Compress as a JPEG of low quality, with colours at half the resolution."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY[level], subsampling="4:2:0")
    with Image.open(file) as image:
        return np.array(image)


def brightness(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Raise the value of every pixel; its hue and saturation stay."""
    value = pixels.max(axis=2, keepdims=True)
    raised = np.minimum(value / 255 + BRIGHTNESS[level], 1)
    # black has no hue: it becomes grey
    shares = np.where(value == 0, 1, pixels / np.maximum(value, 1))
    return _rounded(shares * raised)


def contrast(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Draw every pixel towards the image's mean colour."""
    mean = pixels.sum(axis=(0, 1), dtype=np.int64) / (pixels.shape[0] * pixels.shape[1])
    return _rounded(((pixels - mean) * CONTRAST[level] + mean) / 255)


def pixelate(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Make larger pixels of the mean of those that they cover."""
    height, width = pixels.shape[:2]
    columns, rows = (max(1, int(side * PIXELATE[level])) for side in (width, height))
    small = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BOX)
    return np.array(small.resize((width, height), Image.Resampling.BOX))


def occlusion(pixels: Pixels, level: int, random: RandomState) -> Pixels:
    """Hide patches of a grid, drawn at random, behind grey."""
    rows, columns = (-(-side // PATCH) for side in pixels.shape[:2])
    hidden = np.zeros(rows * columns, dtype=bool)
    hidden[random.permutation(len(hidden))[: round(OCCLUDED[level] * len(hidden))]] = True
    grid = np.kron(hidden.reshape(rows, columns), np.ones((PATCH, PATCH), dtype=bool))
    occluded = pixels.copy()
    occluded[grid[: pixels.shape[0], : pixels.shape[1]]] = GREY
    return occluded


CORRUPTIONS: Final[Mapping[Kind, Callable[[Pixels, int, RandomState], Pixels]]] = {
    "gaussian-noise": gaussian_noise,
    "shot-noise": shot_noise,
    "defocus-blur": defocus_blur,
    "motion-blur": motion_blur,
    "jpeg": jpeg,
    "brightness": brightness,
    "contrast": contrast,
    "pixelate": pixelate,
    "occlusion": occlusion,
}
"""The function of each kind; it takes pixels (H, W, 3), the severity from 0, and random numbers."""


def _rounded(values: NDArray[np.float64]) -> Pixels:
    """Return values, where white is 1, as the nearest of 256 levels."""
    return np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)


def _blurred(
    pixels: Pixels, weights: NDArray[np.float64], border: Literal["reflect", "edge"]
) -> Pixels:
    """Return the mean of the pixels around each by `weights` (K, K), whose middle is the pixel.

    Weights are rounded to whole numbers, so that no machine sums them otherwise.
    """
    shares = np.rint(weights / weights.sum() * _ONE).astype(np.int32)
    shares[np.unravel_index(shares.argmax(), shares.shape)] += _ONE - shares.sum()
    height, width = pixels.shape[:2]
    reach = len(shares) // 2
    around = ((reach, reach), (reach, reach), (0, 0))
    padded = np.pad(pixels.astype(np.int32), around, mode=border)
    total = np.full(pixels.shape, _ONE // 2, dtype=np.int32)
    for row, column in np.argwhere(shares):
        total += shares[row, column] * padded[row : row + height, column : column + width]
    return (total // _ONE).astype(np.uint8)
