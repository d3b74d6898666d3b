"""DCT: the lowest frequencies of the sequence of patch tokens."""

from __future__ import annotations

from math import cos, pi, sqrt

import pytest
import torch
from scipy.fft import dct, idct

import keeprate
from keeprate import Stage
from keeprate_methods.dct import DCT, cosines
from references.tiny import images_for, random_attention, random_tokens, tiny_vit


def shortened(numbers: list[float], keep: int) -> list[float]:
    """The transform, cut and transformed back, one sum at a time."""
    count = len(numbers)
    low = [
        sqrt((1 if k == 0 else 2) / count)
        * sum(x * cos(pi * (2 * i + 1) * k / (2 * count)) for i, x in enumerate(numbers))
        for k in range(keep)
    ]
    return [
        sum(
            sqrt((1 if k == 0 else 2) / keep) * c * cos(pi * (2 * i + 1) * k / (2 * keep))
            for k, c in enumerate(low)
        )
        for i in range(keep)
    ]


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("keep", [1, 7, 10, 12])
def test_the_tokens_equal_the_slow_reference(prefix: int, keep: int) -> None:
    tokens = random_tokens(2, 13, prefix=prefix, trace=True)
    after = DCT().reduce(tokens, random_attention(tokens), Stage(0, keep, 12))
    assert torch.equal(after.x[:, :prefix], tokens.x[:, :prefix])
    for image in range(2):
        for channel in range(tokens.x.shape[2]):
            expected = shortened(tokens.x[image, prefix:, channel].tolist(), keep)
            found = after.x[image, prefix:, channel].tolist()
            assert found == pytest.approx(expected, abs=1e-13)


def test_the_transform_is_that_of_scipy() -> None:
    numbers = random_tokens(1, 196, channels=3).x[0, 1:]
    expected = idct(dct(numbers.numpy(), axis=0, norm="ortho")[:97], axis=0, norm="ortho")
    found = cosines(97, 97, numbers).T @ (cosines(97, 196, numbers) @ numbers)
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_float32_is_as_exact_for_long_sequences() -> None:
    exact = cosines(2048, 2048, torch.empty(0, dtype=torch.float64))
    assert float((cosines(2048, 2048, torch.empty(0)) - exact).abs().max()) < 2e-8


def test_a_token_stands_for_its_stretch_of_the_sequence_and_lies_in_the_middle() -> None:
    from dataclasses import replace

    tokens = replace(random_tokens(1, 8, trace=True), follows_positions=True)
    after = DCT().reduce(tokens, random_attention(tokens), Stage(0, 3, 12))
    assert after.owner.tolist() == [[1, 1, 2, 2, 2, 3, 3, 3]]
    assert after.size.tolist() == [[1, 2, 3, 3]]
    assert after.position.tolist() == [[0, 1, 4, 7]]


def test_a_keep_rate_is_a_share_of_the_tokens_now_rounded_up() -> None:
    model = tiny_vit()
    reduced = keeprate.reduce(model, "dct", "keep=0.7@0,1,2")
    assert [stage.keep for stage in reduced.stages()] == [18, 13, 10]
    with torch.inference_mode():
        reduced(images_for(model))
    assert reduced.token_counts[0].tolist() == [19, 14, 11, 11]
