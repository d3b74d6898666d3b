"""Whatever a method hands to its tokens: the right answer, by a slow reference, or one error."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Stage, Tokens
from keeprate.reduction.reduced_model import ReducedModel
from references import seam
from references.tiny import images_for, random_attention, random_tokens, tiny_vit

often = settings(derandomize=True, deadline=None, max_examples=80, database=None)
seldom = settings(derandomize=True, deadline=None, max_examples=25, database=None)

SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1e-45, -1e-45, 6e-8, 1e-320, 1.0, 1.0, 2.0]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@st.composite
def any_tokens(draw: st.DrawFn) -> Tokens:
    """Draw traced tokens: 0 to 4 images, 0 to 5 prefix tokens, a few patches, maybe padding."""
    batch, prefix, patches = (draw(st.integers(0, most)) for most in (4, 5, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    x = torch.randn(batch, prefix + patches, 2, generator=generator, dtype=torch.float64)
    tokens = Tokens.of(x, num_prefix=prefix, has_class_token=prefix > 0, trace=True)
    if draw(st.booleans()):
        return tokens
    valid = torch.rand(batch, prefix + patches, generator=generator) < 0.7
    valid[:, :prefix] = True
    return replace(tokens, valid=valid)


def table(draw: st.DrawFn, batch: int, columns: int, values: st.SearchStrategy[int]) -> Tensor:
    drawn = [draw(st.lists(values, min_size=columns, max_size=columns)) for _ in range(batch)]
    return torch.tensor(drawn, dtype=torch.int64).reshape(batch, columns)


def permutations(draw: st.DrawFn, tokens: Tokens) -> Tensor:
    drawn = [draw(st.permutations(range(tokens.count))) for _ in range(len(tokens.x))]
    return torch.tensor(drawn, dtype=torch.int64).reshape(len(tokens.x), tokens.count)


def index_for(draw: st.DrawFn, tokens: Tokens) -> Tensor:
    """Draw positions, most of them right, some twice, some outside."""
    if draw(st.booleans()):
        count = draw(st.integers(0, tokens.count))
        return permutations(draw, tokens)[:, :count]
    columns = draw(st.integers(0, tokens.count + 1))
    return table(draw, len(tokens.x), columns, st.integers(-2, tokens.count + 1))


def agree(after: Tokens, expected: list[seam.Image]) -> None:
    """Assert that tokens are those of the reference: embeddings, sizes, padding and owners."""
    found = seam.images_of(after)
    assert len(found) == len(expected)
    for image, wanted in zip(found, expected, strict=True):
        assert [t.size for t in image] == [t.size for t in wanted]
        assert [t.is_valid for t in image] == [t.is_valid for t in wanted]
        assert [t.patches for t in image if t.is_valid] == [t.patches for t in wanted if t.is_valid]
        for token, other in zip(image, wanted, strict=True):
            assert token.x == pytest.approx(other.x, rel=1e-5, abs=1e-6)


@often
@given(st.data())
def test_keep_keeps_the_named_tokens_in_their_order_or_refuses(data: st.DataObject) -> None:
    tokens = data.draw(any_tokens())
    index = index_for(data.draw, tokens)
    counted = torch.ones_like(index, dtype=torch.bool)
    if data.draw(st.booleans()):
        counted = table(data.draw, *index.shape, st.integers(0, 1)) > 0
    images = seam.images_of(tokens)
    given_rows = list(zip(images, index.tolist(), counted.tolist(), strict=True))
    valid = None if counted.all() and tokens.valid is None else counted
    if not all(seam.can_keep(*row) for row in given_rows):
        with pytest.raises(KeeprateError, match=r"index names position|no tokens left"):
            tokens.keep(index, valid)
        return
    agree(tokens.keep(index, valid), [seam.kept(*row) for row in given_rows])


@st.composite
def any_score(draw: st.DrawFn, tokens: Tokens) -> Tensor:
    dtype = draw(st.sampled_from(DTYPES))
    one = st.sampled_from(SPECIAL if draw(st.booleans()) else [0.0, 1.0, -2.5, math.inf])
    count = tokens.count
    drawn = [draw(st.lists(one, min_size=count, max_size=count)) for _ in range(len(tokens.x))]
    return torch.tensor(drawn, dtype=torch.float64).reshape(tokens.x.shape[:2]).to(dtype)


@often
@given(st.data())
def test_the_best_are_kept_whatever_the_scores_or_they_are_refused(data: st.DataObject) -> None:
    tokens = data.draw(any_tokens())
    score = data.draw(any_score(tokens))
    k = data.draw(st.integers(-1, tokens.num_patch_tokens + 1))
    images, values = seam.images_of(tokens), seam.rows(score)
    if not 0 <= k <= tokens.num_patch_tokens or has_nan(tokens, values):
        with pytest.raises(KeeprateError, match=r"cannot be kept|not a number"):
            tokens.keep_top(score, k)
        return
    split = [seam.top(i, tokens.num_prefix, s, k) for i, s in zip(images, values, strict=True)]
    best, rest = tokens.top(score, k)
    assert best.tolist() == [kept for kept, _ in split]
    assert rest.tolist() == [left for _, left in split]
    expected = [
        seam.kept(image, kept, [True] * len(kept))
        for image, (kept, _) in zip(images, split, strict=True)
    ]
    agree(tokens.keep_top(score, k), expected)


def has_nan(tokens: Tokens, values: list[list[float]]) -> bool:
    """Tell whether the score of a patch token that counts is not a number."""
    images = seam.images_of(tokens)
    return any(
        math.isnan(row[place]) and image[place].is_valid
        for image, row in zip(images, values, strict=True)
        for place in range(tokens.num_prefix, tokens.count)
    )


@pytest.mark.slow
@often
@given(st.data())
def test_merging_averages_by_size_and_follows_owners_or_refuses(data: st.DataObject) -> None:
    tokens = data.draw(any_tokens())
    batch, count = len(tokens.x), tokens.count
    size = table(data.draw, batch, count, st.integers(1, 5)).float()
    tokens = replace(tokens, size=size)
    place = permutations(data.draw, tokens)
    removed = data.draw(st.integers(0, count))
    source, order = place[:, :removed], place[:, removed:]
    if data.draw(st.booleans()) and removed < count:
        into = order[:, :1].expand(-1, removed)
    else:
        into = table(data.draw, batch, removed, st.integers(-1, count))
    if data.draw(st.integers(0, 3)) == 0:
        source = table(data.draw, batch, removed, st.integers(-1, count))
    check_merge(tokens, source, into, order)


def check_merge(tokens: Tokens, source: Tensor, into: Tensor, order: Tensor) -> None:
    images = seam.images_of(tokens)
    drawn = zip(source.tolist(), into.tolist(), order.tolist(), strict=True)
    given_rows = [(image, *row) for image, row in zip(images, drawn, strict=True)]
    if not all(seam.can_merge(*row) for row in given_rows):
        with pytest.raises(KeeprateError, match=r"^tokens\.merge: "):
            tokens.merge(source, into, order)
        return
    after = tokens.merge(source, into, order)
    agree(after, [seam.merged(*row) for row in given_rows])
    assert after.size.sum(dim=1).tolist() == tokens.size.sum(dim=1).tolist()
    ascending = order.sort(dim=1).values
    by_default = tokens.merge(source, into)
    torch.testing.assert_close(by_default.x, tokens.merge(source, into, ascending).x)


@often
@given(st.data())
def test_sizes_and_owners_agree_after_any_row_of_operations(data: st.DataObject) -> None:
    tokens = data.draw(any_tokens())
    tokens = replace(tokens, valid=None)
    dropped = torch.zeros(len(tokens.x))
    for _ in range(data.draw(st.integers(1, 4))):
        place = permutations(data.draw, tokens)
        removed = data.draw(st.integers(0, max(tokens.count - 1, 0)))
        source, order = place[:, :removed], place[:, removed:]
        if data.draw(st.booleans()) or not tokens.count:
            dropped = dropped + tokens.size.gather(1, source).sum(dim=1)
            tokens = tokens.keep(order)
        else:
            tokens = tokens.merge(source, order[:, :1].expand(-1, removed), order)
    everything = tokens.owner.shape[1] + tokens.num_prefix
    left = tokens.size.sum(dim=1) + dropped
    assert left.tolist() == [everything] * len(tokens.x)
    for owners, sizes in zip(tokens.owner.tolist(), tokens.size.tolist(), strict=True):
        for place, size in enumerate(sizes):
            assert owners.count(place) <= size
        assert all(-1 <= owner < len(sizes) for owner in owners)


def test_padding_comes_behind_tokens_whose_score_is_minus_infinity() -> None:
    valid = torch.tensor([[True, False, True, True]])
    tokens = replace(Tokens.of(torch.zeros(1, 4, 2), num_prefix=1), valid=valid)
    score = torch.tensor([[0.0, 9.0, -math.inf, 1.0]])
    assert tokens.top(score, 2)[0].tolist() == [[0, 2, 3]]


def test_padding_that_repeats_a_token_does_not_take_its_patches() -> None:
    tokens = Tokens.of(torch.zeros(1, 3, 2), trace=True)
    index, valid = torch.tensor([[0, 2, 0]]), torch.tensor([[True, True, False]])
    assert tokens.keep(index, valid).owner.tolist() == [[0, -1, 1]]


def test_scores_that_were_looked_at_are_looked_at_again_only_once_written_to() -> None:
    tokens = random_tokens()
    attention = random_attention(tokens)
    attention.given_score = torch.full((2, 13), math.nan)  # as if it had been looked at
    assert tokens.top(attention.score, 2)[0].shape == (2, 3)
    attention.score[0, 3] = math.nan
    with pytest.raises(KeeprateError, match="not a number"):
        tokens.top(attention.given_score, 2)


class Told(Method):
    """Scores as it is told, the same in every block."""

    name = "told"
    needs = Needs.KEYS

    def __init__(self) -> None:
        self.answer = torch.zeros(0)

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        return self.answer[:, : tokens.count]


@cache
def model_of(name: str, keep: int) -> ReducedModel:
    return keeprate.reduce(tiny_vit(name), Told(), f"{keep}@1", trace=True)


PREFIX = {
    "vit_base_patch16_siglip_gap_224": 0,
    "vit_tiny_patch16_224": 1,
    "deit_tiny_distilled_patch16_224": 2,
    "vit_small_patch14_reg4_dinov2": 5,
}


@pytest.mark.slow
@seldom
@given(st.data())
def test_a_reduced_model_keeps_the_best_or_names_the_method(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(list(PREFIX)))
    model = model_of(name, data.draw(st.sampled_from([1, 7, 24])))
    images = images_for(model.model, data.draw(st.integers(0, 3)))
    tokens = Tokens.of(torch.zeros(len(images), PREFIX[name] + 25, 1), num_prefix=PREFIX[name])
    score = data.draw(any_score(tokens))
    model.method.answer = score
    with torch.inference_mode():
        if score.isnan().any():
            with pytest.raises(KeeprateError, match=r"^Method 'told' at block 1: score is not a"):
                model(images)
            return
        assert model(images).isfinite().all()
    (kept,) = model.survivors
    keep = model.plan.stages((20, 20))[0].keep
    reference = [
        seam.top(image, PREFIX[name], row, keep)[0]
        for image, row in zip(seam.images_of(tokens), seam.rows(score), strict=True)
    ]
    for owners, positions in zip(kept.owner.tolist(), reference, strict=True):
        patches = [patch for patch, owner in enumerate(owners) if owner >= 0]
        assert [patch + PREFIX[name] for patch in patches] == positions[PREFIX[name] :]
