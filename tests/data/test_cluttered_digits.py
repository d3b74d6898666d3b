"""Cluttered digits: the same images everywhere, each with one whole digit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.images import build_transform
from keeprate.errors import KeeprateError
from keeprate_datasets import digits
from keeprate_datasets.clutter import Clutter, Draws, cluttered, enlarged_digits
from keeprate_datasets.cluttered_digits import DIFFICULTIES, ClutteredDigits
from keeprate_datasets.digits import Digits

NOTHING = Clutter(fewest=0, most=0, smooth_noise=0, fine_noise=0)


@pytest.fixture(scope="module")
def enlarged() -> np.ndarray:
    return enlarged_digits(load_digits().images[digits.held_out_positions()])


@pytest.mark.parametrize(
    ("difficulty", "start"),
    [(1, "8351e04562e0af39"), (2, "d5c0e6171b795be1"), (3, "08a300b3e07fae89")],
)
def test_the_images_never_change(difficulty: int, start: str) -> None:
    data = ClutteredDigits(difficulty)
    digest = hashlib.sha256()
    for index in range(len(data.samples())):
        digest.update(data.image(index).contiguous().numpy().tobytes())
    found = digest.hexdigest()
    assert found[:16] == start


def test_draws_are_the_bytes_of_shake_256() -> None:
    draws = Draws("a text", 3)
    expected = hashlib.shake_256(b"a text").digest(6)
    assert draws.one_below(65536) == expected[0] + 256 * expected[1]
    assert draws.below(10, 2).tolist() == [
        (expected[2] + 256 * expected[3]) % 10,
        (expected[4] + 256 * expected[5]) % 10,
    ]


def test_digits_are_enlarged_linearly_between_the_centres_of_pixels() -> None:
    digit = np.zeros((1, 8, 8))
    digit[0, 0, 0], digit[0, 0, 1], digit[0, 7, 7] = 16, 8, 4
    large = enlarged_digits(digit)[0]
    assert large.shape == (24, 24)
    # the centres of the first two pixels are at 1 and 4: 16, 16, then a third of the way to 8
    assert large[0, :5].tolist() == [255, 255, 213, 170, 128]
    assert large[1, 1] == 255
    assert large[22, 22] == 64
    assert large[23, 23] == 64
    assert large[2, 1] == 170  # two thirds of 16 in the other direction


@pytest.mark.parametrize("margin", [0, 4])
def test_the_digit_is_whole_whatever_surrounds_it(enlarged: np.ndarray, margin: int) -> None:
    crowd = NOTHING._replace(fewest=40, most=40, margin=margin)
    crowded = cluttered(enlarged, 5, crowd, 56, "seed")
    draws = Draws("seed", 64 + 56 * 56 + 2)
    draws.below(1, 64 + 56 * 56)
    top, left = 4 * draws.below(9, 2)
    np.testing.assert_array_equal(crowded[top : top + 24, left : left + 24], enlarged[5])
    around = crowded[
        max(0, top - margin) : top + 24 + margin, max(0, left - margin) : left + 24 + margin
    ]
    assert (around > 0).sum() == (enlarged[5] > 0).sum()
    assert (crowded > 0).sum() > 2 * (enlarged[5] > 0).sum()


def slowly(digits: np.ndarray, index: int, clutter: Clutter, size: int, seed: str) -> np.ndarray:
    """Draw as `cluttered` does, pixel by pixel."""
    cells = size // 8 + 1
    draws = Draws(seed, 10_000)
    corners = [
        [draws.one_below(clutter.smooth_noise + 1) for _ in range(cells)] for _ in range(cells)
    ]
    image = np.zeros((size, size), dtype=int)
    for row in range(size):
        for column in range(size):
            (y, down), (x, right) = divmod(row, 8), divmod(column, 8)
            above = corners[y][x] * (8 - right) + corners[y][x + 1] * right
            below = corners[y + 1][x] * (8 - right) + corners[y + 1][x + 1] * right
            noise = draws.one_below(clutter.fine_noise + 1)
            image[row, column] = (above * (8 - down) + below * down) // 64 + noise
    places = (size - 24) // 4 + 1
    top, left = 4 * draws.one_below(places), 4 * draws.one_below(places)
    for _ in range(clutter.fewest + draws.one_below(clutter.most - clutter.fewest + 1)):
        side = 8 + draws.one_below(6)
        from_top, from_left = draws.one_below(25 - side), draws.one_below(25 - side)
        other = digits[draws.one_below(len(digits))]
        y, x = draws.one_below(size - side + 1), draws.one_below(size - side + 1)
        for row in range(side):
            for column in range(side):
                down, right = y + row - top + clutter.margin, x + column - left + clutter.margin
                inside = (
                    0 <= down < 24 + 2 * clutter.margin and 0 <= right < 24 + 2 * clutter.margin
                )
                if not inside:
                    value = other[from_top + row, from_left + column]
                    image[y + row, x + column] = max(image[y + row, x + column], value)
    for row in range(24):
        for column in range(24):
            value = max(image[top + row, left + column], digits[index, row, column])
            image[top + row, left + column] = value
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [32, 56])
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_an_image_is_that_of_the_slow_drawing(
    enlarged: np.ndarray, difficulty: int, size: int
) -> None:
    arguments = (enlarged, 7, DIFFICULTIES[difficulty], size, "seed")
    np.testing.assert_array_equal(cluttered(*arguments), slowly(*arguments))


def test_more_fragments_are_a_brighter_image_on_average() -> None:
    means = [
        torch.stack([data.image(i) for i in range(20)]).double().mean()
        for data in (ClutteredDigits(1), ClutteredDigits(2))
    ]
    assert means[0] < means[1]


def test_samples_are_the_held_out_digits_and_content_tells_difficulties_apart() -> None:
    assert ClutteredDigits().samples() == Digits().samples()
    prints = {ClutteredDigits(level).fingerprint() for level in (1, 2, 3)}
    assert len(prints | {Digits().fingerprint()}) == 4


def test_a_difficulty_that_does_not_exist_is_refused() -> None:
    with pytest.raises(KeeprateError, match="has no difficulty 4, only 1, 2, 3"):
        ClutteredDigits(4)


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    model = ClutteredDigits().classifier()
    assert model is not None
    return model


def test_the_classifier_has_12_blocks_196_patches_and_a_class_token(classifier: nn.Module) -> None:
    assert classifier.training is False
    assert len(classifier.get_submodule("blocks")._modules) == 12
    assert classifier.get_parameter("pos_embed").shape == (1, 1 + 196, 64)


def test_the_images_fit_the_classifier_unresampled(classifier: nn.Module) -> None:
    image = ClutteredDigits().image(3)
    transform = build_transform(ModelInput.of(classifier))
    torch.testing.assert_close(transform(image), image / 127.5 - 1)


def test_the_classifier_is_right_nine_times_in_ten(classifier: nn.Module) -> None:
    data = ClutteredDigits()
    images = torch.stack([data.image(i) for i in range(60)])
    with torch.inference_mode():
        predicted = classifier(images / 127.5 - 1).argmax(1).tolist()
    right = sum(p == s.label for p, s in zip(predicted, data.samples(), strict=False))
    assert right >= 54  # of the first sixty; docs/benchmarks.md has all six hundred
