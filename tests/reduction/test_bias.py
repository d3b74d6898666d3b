"""What is added to attention logits: looked up by position, per image, in parts and rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import keeprate
from keeprate.attention import Attention, AttentionBias, explicit_weights
from keeprate.method import Needs
from references.tiny import random_tokens, tiny_vit

IMAGES, HEADS, WHOLE, LEFT = 3, 2, 7, 4
GENERATOR = torch.Generator().manual_seed(0)
TABLE = torch.randn(1, HEADS, WHOLE, WHOLE, generator=GENERATOR)
POSITION = torch.stack([torch.randperm(WHOLE, generator=GENERATOR)[:LEFT] for _ in range(IMAGES)])
EXTRA = torch.randn(IMAGES, 1, 1, LEFT, generator=GENERATOR)


def looked_up_slowly() -> Tensor:
    found = torch.empty(IMAGES, HEADS, LEFT, LEFT)
    for image in range(IMAGES):
        for head in range(HEADS):
            for query in range(LEFT):
                for key in range(LEFT):
                    row, column = POSITION[image, query], POSITION[image, key]
                    found[image, head, query, key] = TABLE[0, head, row, column]
    return found


def test_rows_and_columns_are_looked_up_for_each_image() -> None:
    dense = AttentionBias(TABLE, POSITION).dense()
    assert dense is not None
    assert torch.equal(dense, looked_up_slowly())


def test_what_a_reduced_model_adds_is_added_for_every_query() -> None:
    dense = AttentionBias(TABLE, POSITION, EXTRA).dense()
    assert dense is not None
    torch.testing.assert_close(dense, looked_up_slowly() + EXTRA)
    assert AttentionBias(None, None, EXTRA).dense() is EXTRA
    assert AttentionBias(None).dense() is None


def test_a_boolean_mask_stays_one_unless_something_is_added() -> None:
    allowed = torch.rand(IMAGES, 1, LEFT, LEFT, generator=GENERATOR) > 0.5
    assert AttentionBias(allowed).dense() is allowed
    dense = AttentionBias(allowed, None, EXTRA).dense()
    assert dense is not None
    assert torch.equal(dense.isinf(), ~allowed)
    assert torch.equal(dense[allowed], EXTRA.expand_as(allowed)[allowed])


@pytest.mark.parametrize("part", [slice(0, 1), slice(1, 3)])
@pytest.mark.parametrize(
    "bias",
    [
        AttentionBias(TABLE, POSITION, EXTRA),
        AttentionBias(TABLE[..., :LEFT, :LEFT], None, EXTRA),
        AttentionBias(torch.randn(IMAGES, 1, 1, LEFT, generator=GENERATOR)),
    ],
    ids=["looked up", "one table", "a row per image"],
)
def test_a_few_images_have_their_part(bias: AttentionBias, part: slice) -> None:
    whole, some = bias.dense(), bias.rows(part).dense()
    assert whole is not None
    assert some is not None
    assert torch.equal(
        some.expand(part.stop - part.start, -1, -1, -1), whole.expand(3, -1, -1, -1)[part]
    )


@pytest.mark.parametrize(
    "bias",
    [
        None,
        AttentionBias(TABLE, POSITION, EXTRA),
        AttentionBias(TABLE[..., :LEFT, :LEFT], None, EXTRA),
        AttentionBias(None, None, EXTRA),
    ],
    ids=["none", "looked up", "one table", "sizes"],
)
def test_the_class_row_is_the_first_row_of_the_weights(bias: AttentionBias | None) -> None:
    q, k, v = torch.randn(3, IMAGES, HEADS, LEFT, 5, generator=GENERATOR)
    seen = Attention(q, k, v, 0.5, bias, torch.zeros(IMAGES, LEFT, 8), Needs.WEIGHTS)
    weights = explicit_weights(q, k, 0.5, seen.mask)
    torch.testing.assert_close(seen.class_row, weights[:, :, 0])


@pytest.mark.parametrize("size_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_log_of_sizes_is_taken_in_the_wider_of_float32_and_the_model_s_type(
    dtype: torch.dtype, size_dtype: torch.dtype
) -> None:
    tokens = random_tokens(2, 50, sizes=True)
    tokens = replace(tokens, x=tokens.x.to(dtype), size=tokens.size.to(size_dtype))
    mask = keeprate.reduce(tiny_vit(), "tome", "r=1")._mask(tokens)
    exact = torch.float64 if dtype is torch.float64 else torch.float32
    expected = tokens.size.to(exact).log().to(dtype)
    assert mask.dtype is dtype
    assert torch.equal(mask[:, 0, 0], expected)
