"""Corruptions against written-out references, by severity, and the same on every machine."""

from __future__ import annotations

import colorsys
import hashlib
import io
import math
import zlib
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from numpy.random import RandomState
from numpy.typing import NDArray
from PIL import Image

from keeprate_datasets.corruptions import CORRUPTIONS, Kind, Pixels, corrupt

KINDS: tuple[Kind, ...] = get_args(Kind)
SEVERITIES = (1, 2, 3, 4, 5)
ALL = pytest.mark.parametrize("severity", SEVERITIES)


def photograph(height: int, width: int) -> Pixels:
    """Smooth colours with an edge and a little grain, as photographs have."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / (5 + c)) * np.cos(columns / (7 - c)) for c in range(3)]
    grain = RandomState(3).randint(-12, 13, (height, width, 3))
    edge = 60 * (columns > width // 2)[..., None]
    return np.clip(90 + 60 * np.stack(waves, -1) + edge + grain, 0, 255).astype(np.uint8)


def random_numbers(kind: str, severity: int) -> RandomState:
    digest = hashlib.sha256(f"{kind}\0{severity}\0a/1.png".encode()).digest()
    words = [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 32, 4)]
    return RandomState(words)


def level(value: float) -> int:
    """The nearest of 256 levels to a value where white is 1."""
    return round(min(max(value, 0.0), 1.0) * 255)


def mirrored(place: int, side: int) -> int:
    place = abs(place)
    return place if place < side else 2 * (side - 1) - place


def disk(radius: int, deviation: float) -> dict[tuple[int, int], float]:
    """Weights of a disk whose edge is softened by a small bell, by offset."""
    soft = 1 if radius <= 8 else 2
    bell = {k: math.exp(-k * k / (2 * deviation**2)) for k in range(-soft, soft + 1)}
    weights: dict[tuple[int, int], float] = {}
    for y, x in product(range(-radius, radius + 1), repeat=2):
        if y * y + x * x <= radius * radius:
            for (i, a), (j, b) in product(bell.items(), bell.items()):
                weights[y + i, x + j] = weights.get((y + i, x + j), 0.0) + a * b
    return weights


def blurred(pixels: Pixels, weights: dict[tuple[int, int], float], border: Any) -> NDArray[Any]:
    height, width, _ = pixels.shape
    result = np.zeros(pixels.shape)
    for y, x in product(range(height), range(width)):
        for (dy, dx), weight in weights.items():
            result[y, x] += weight * pixels[border(y + dy, height), border(x + dx, width)]
    return result / sum(weights.values())


@ALL
@pytest.mark.parametrize("kind", ["gaussian-noise", "shot-noise"])
def test_noise_is_drawn_for_each_value(kind: Kind, severity: int) -> None:
    pixels = photograph(6, 5)
    random, expected = random_numbers(kind, severity), np.zeros_like(pixels)
    deviation = (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    photons = (60, 25, 12, 5, 3)[severity - 1]
    for place in np.ndindex(pixels.shape):
        clean = pixels[place] / 255
        gaussian = kind == "gaussian-noise"
        noisy = clean + random.normal(0, deviation) if gaussian else 0.0
        expected[place] = level(noisy if gaussian else random.poisson(clean * photons) / photons)
    assert np.array_equal(corrupt(pixels, kind, severity, "a/1.png"), expected)


@pytest.mark.parametrize("severity", [1, 5])
def test_defocus_is_the_mean_over_a_soft_disk(severity: int) -> None:
    pixels = photograph(9, 14)
    weights = disk(*((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity - 1])

    def border(place: int, side: int) -> int:
        while not 0 <= place < side:  # a disk may be larger than the image
            place = mirrored(place, side)
        return place

    expected = blurred(pixels, weights, border)
    found = corrupt(pixels, "defocus-blur", severity, "a/1.png")
    assert np.abs(found - expected).max() < 0.6


def test_a_white_point_out_of_focus_is_a_grey_disk() -> None:
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[20, 20] = 255
    found = corrupt(pixels, "defocus-blur", 1, "a/1.png")
    assert (found[..., 0] > 0).sum() == 29  # points of a disk with radius 3
    assert set(found[found > 0]) == {9}  # 255 / 29 = 8.8


@ALL
def test_motion_is_half_a_bell_along_a_line(severity: int) -> None:
    pixels = photograph(8, 9)
    radius, deviation = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[severity - 1]
    angle = math.radians(random_numbers("motion-blur", severity).uniform(-45, 45))
    weights: dict[tuple[int, int], float] = {}
    for step in range(2 * radius + 1):
        place = math.floor(step * math.sin(angle) + 0.5), math.floor(step * math.cos(angle) + 0.5)
        weights[place] = math.exp(-step * step / (2 * deviation**2))
    expected = blurred(pixels, weights, lambda place, side: min(max(place, 0), side - 1))
    found = corrupt(pixels, "motion-blur", severity, "a/1.png")
    assert np.abs(found - expected).max() < 0.6


@ALL
def test_jpeg_is_a_jpeg_of_the_benchmarks_quality(severity: int) -> None:
    pixels, file = photograph(33, 20), io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
    assert np.array_equal(corrupt(pixels, "jpeg", severity, "a/1.png"), Image.open(file))


@ALL
def test_brightness_raises_the_value_of_hsv(severity: int) -> None:
    pixels = photograph(7, 6)
    pixels[0, 0] = 0
    expected = np.zeros(pixels.shape)
    for place in np.ndindex(pixels.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixels[place] / 255)
        value = min(1.0, value + severity / 10)
        expected[place] = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))
    found = corrupt(pixels, "brightness", severity, "a/1.png")
    assert np.abs(found - expected).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(
    ("severity", "dark", "light"), [(1, 60, 140), (2, 70, 130), (3, 80, 120), (5, 95, 105)]
)
def test_contrast_draws_towards_the_mean_of_each_colour(
    severity: int, dark: int, light: int
) -> None:
    pixels = np.full((4, 6, 3), 7, np.uint8)
    pixels[:, :3, 0], pixels[:, 3:, 0] = 0, 200
    found = corrupt(pixels, "contrast", severity, "a/1.png")
    assert set(found[:, :3, 0].flat) == {dark}
    assert set(found[:, 3:, 0].flat) == {light}
    assert set(found[..., 1:].flat) == {7}


def test_pixelate_makes_blocks_of_their_mean() -> None:
    pixels = photograph(8, 12)
    found = corrupt(pixels, "pixelate", 2, "a/1.png")  # half as many along a side
    for y, x in product(range(0, 8, 2), range(0, 12, 2)):
        mean = pixels[y : y + 2, x : x + 2].mean(axis=(0, 1))
        assert np.abs(found[y : y + 2, x : x + 2] - mean).max() <= 1  # rounded by rows and columns


@ALL
def test_so_many_patches_are_hidden_and_the_others_are_as_they_were(severity: int) -> None:
    pixels = photograph(70, 48)  # five rows, the last cut off, of three patches
    found = corrupt(pixels, "occlusion", severity, "a/1.png")
    hidden = 0
    for y, x in product(range(0, 70, 16), range(0, 48, 16)):
        patch = found[y : y + 16, x : x + 16]
        if np.array_equal(patch, pixels[y : y + 16, x : x + 16]):
            continue
        assert set(patch.flat) == {128}
        hidden += 1
    assert hidden == (2, 3, 4, 6, 8)[severity - 1]  # of 15: 1.5, 3, 4.5, 6, 7.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_higher_severity_is_farther_from_the_image(kind: Kind) -> None:
    pixels = photograph(96, 112)
    far = [np.abs(corrupt(pixels, kind, s, "a/1.png") - 1.0 * pixels).mean() for s in SEVERITIES]
    assert far == sorted(far)
    assert far[0] > 0.5


def test_every_kind_has_its_function() -> None:
    assert tuple(CORRUPTIONS) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_sample_is_corrupted_the_same_way_and_the_image_stays(kind: Kind) -> None:
    pixels = photograph(48, 40)
    before = pixels.copy()
    first = corrupt(pixels, kind, 4, "a/1.png")
    assert first.dtype == np.uint8
    assert first.shape == pixels.shape
    assert np.array_equal(corrupt(pixels, kind, 4, "a/1.png"), first)
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("kind", ["gaussian-noise", "shot-noise", "motion-blur", "occlusion"])
def test_chance_depends_on_the_sample(kind: Kind) -> None:
    pixels = photograph(48, 40)
    one, other = (corrupt(pixels, kind, 4, sample) for sample in ("a/1.png", "caf\udce9.png"))
    assert not np.array_equal(one, other)


# jpeg is the codec's; VERSION goes up where one of these changes
CHECKSUMS = {
    "gaussian-noise": 647343317,
    "shot-noise": 1105181532,
    "defocus-blur": 3663473538,
    "motion-blur": 3485327837,
    "brightness": 297009140,
    "contrast": 354102478,
    "pixelate": 1781623440,
    "occlusion": 586411296,
}


@pytest.mark.parametrize("kind", CHECKSUMS)
def test_pixels_are_the_same_on_every_machine(kind: Kind) -> None:
    pixels = RandomState(0).randint(0, 256, (48, 40, 3)).astype(np.uint8)
    assert zlib.crc32(corrupt(pixels, kind, 3, "a/1.png").tobytes()) == CHECKSUMS[kind]
