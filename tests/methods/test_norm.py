"""Norm: the longest embeddings and values stay, or the shortest keys, or the other way round."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import keeprate
from keeprate import Needs, Stage
from keeprate_methods.norm import Norm
from references.tiny import images_for, random_attention, random_tokens, watched

STAGE = Stage(block=3, keep=5, depth=12)
SIGNS = {
    ("x", "usual"): 1,
    ("value", "usual"): 1,
    ("key", "usual"): -1,
    ("x", "low"): -1,
    ("value", "low"): -1,
    ("key", "high"): 1,
}


@pytest.mark.parametrize(("feature", "keep"), SIGNS)
def test_the_score_is_the_length_written_out(feature: str, keep: str) -> None:
    tokens = random_tokens(2, 7, prefix=2)
    attention = random_attention(tokens)
    score = Norm(feature, keep).score(tokens, attention, STAGE)
    heads = {"value": attention.v, "key": attention.k}
    for image in range(2):
        for token in range(9):
            numbers = tokens.x[image, token].tolist()
            if feature != "x":
                numbers = heads[feature][image, :, token].flatten().tolist()
            expected = SIGNS[feature, keep] * sum(number**2 for number in numbers) ** 0.5
            assert float(score[image, token]) == pytest.approx(expected, rel=1e-13)


def test_only_values_and_keys_are_asked_for() -> None:
    assert Norm().needs is Needs.NOTHING
    assert Norm("value").needs is Norm("key").needs is Needs.KEYS


def test_an_embedding_counts_as_it_is_after_the_attention(vit: nn.Module) -> None:
    method = Norm()
    reduced = keeprate.reduce(vit, method, "9@1")
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(vit).double())
    [call] = calls
    length = call.tokens.x.norm(dim=2)
    expected = length[:, 1:].topk(9).values.sort().values
    torch.testing.assert_close(call.after.x.norm(dim=2)[:, 1:].sort().values, expected)


def test_half_precision_does_not_overflow() -> None:
    tokens = random_tokens(1, 4)
    large = tokens.with_x((tokens.x * 3e4).clamp(-6e4, 6e4).half())
    score = Norm().score(large, random_attention(tokens), STAGE)
    assert score.dtype is torch.float32
    assert score.isfinite().all()
    assert score.max() > torch.finfo(torch.float16).max
