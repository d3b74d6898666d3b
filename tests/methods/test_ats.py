"""ATS samples as written-out loops do, keeps one token at least, and softens the softmax."""

from __future__ import annotations

from math import sqrt

import pytest
import torch

import keeprate
from keeprate import Stage, Tokens
from keeprate_methods.ats import ATS
from keeprate_methods.sampling import by_position, by_significance, softened
from references import sampling as slow
from references.tiny import attention_of, images_for, random_attention, random_tokens, tiny_vit


def scores(images: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(images, count, generator=generator, dtype=torch.float64) ** 3


@pytest.mark.parametrize("points", [1, 2, 5, 12, 40])
def test_tokens_are_sampled_as_in_the_reference(points: int) -> None:
    score = scores(6, 12)
    alive = torch.ones_like(score, dtype=torch.bool)
    for ours, theirs in ((by_significance, slow.by_significance), (by_position, slow.by_position)):
        for row, sampled in zip(score.tolist(), ours(score, alive, points), strict=True):
            assert set(sampled.nonzero()[:, 0].tolist()) == theirs(row, points)


@pytest.mark.parametrize("sample", [by_significance, by_position])
def test_padding_changes_no_sample(sample) -> None:  # type: ignore[no-untyped-def]
    score = scores(3, 12)
    alive = torch.ones_like(score, dtype=torch.bool)
    alive[0, 9:] = alive[1, [2, 3, 7]] = False
    found = sample(score, alive, 6)
    assert not (found & ~alive).any()
    for row, there, sampled in zip(score, alive, found, strict=True):
        alone = sample(row[there][None], alive[2:, : int(there.sum())], 6)
        assert sampled[there].tolist() == alone[0].tolist()


def test_samples_by_hand() -> None:
    """Shares .1, .2, .3, .4 sum up, from 0 to 1, to 0, 2/9, 5/9 and 1; points are 2/9, .61, 1."""
    score = torch.tensor([[0.3, 0.1, 0.4, 0.2]])
    alive = torch.ones_like(score, dtype=torch.bool)
    assert by_significance(score, alive, 3).tolist() == [[True, False, True, True]]
    # sums .3, .4, .8, 1.0; points 1/8, 3/8 and 5/8
    assert by_position(score, alive, 3).tolist() == [[True, True, True, False]]


def test_one_token_is_left_where_the_authors_would_lose_it() -> None:
    score = torch.tensor([[0.3, 0.1, 0.4, 0.2]])
    alive = torch.ones_like(score, dtype=torch.bool)
    assert by_significance(score, alive, 1).tolist() == [[False, False, False, True]]


@pytest.mark.parametrize("prefix", [1, 5])
@pytest.mark.parametrize("sampler", ["authors", "by-position"])
def test_significance_is_class_attention_times_the_length_of_values(
    sampler: str, prefix: int
) -> None:
    tokens = random_tokens(2, 8, prefix=prefix)
    attention = random_attention(tokens)
    score = ATS(sampler).score(tokens, attention, Stage(1, 4, 4))
    for image in range(2):
        heads, values = attention_of(attention, image), attention.v[image].tolist()
        for token in range(tokens.count):
            squares = [sum(number**2 for number in head[token]) for head in values]
            rows = [head[0][token] for head in heads]
            whole = sum(rows) * sqrt(sum(squares))
            by_head = sum(row * sqrt(square) for row, square in zip(rows, squares, strict=True))
            expected = whole if sampler == "authors" else by_head
            assert float(score[image, token]) == pytest.approx(expected)


def test_the_softmax_is_softened() -> None:
    logits = torch.randn(1, 2, 3, 5, dtype=torch.float64) * 4
    tokens = random_tokens(1, 4)
    found = softened(logits.softmax(dim=-1), tokens)
    for head, rows in zip(found[0], logits[0].tolist(), strict=True):
        expected = torch.tensor([slow.softened(row) for row in rows], dtype=torch.float64)
        torch.testing.assert_close(head, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(1, 2, 3).double())


def test_padding_is_softened_to_nothing() -> None:
    valid = torch.tensor([[True, True, True, False, False]])
    tokens: Tokens = random_tokens(1, 4).keep(torch.arange(5)[None], valid)
    weights = torch.tensor([0.5, 0.3, 0.2, 0.0, 0.0], dtype=torch.float64).expand(1, 1, 5, 5)
    found = softened(weights, tokens)[0, 0, 0]
    assert found[3:].tolist() == [0.0, 0.0]
    expected = [(w / 0.5 + 1e-6 / 3) / (1 / 0.5 + 1e-6) for w in (0.5, 0.3, 0.2)]
    assert found[:3].tolist() == pytest.approx(expected, rel=1e-12)


def test_images_keep_different_numbers_and_never_more_than_scheduled() -> None:
    model = tiny_vit().double()
    reduced = keeprate.reduce(model, "ats", "25@1,25@2")
    with torch.inference_mode():
        reduced(images_for(model, 4))
    counts = reduced.token_counts
    assert (counts[:, 1] <= 26).all()
    assert (counts[:, 2] <= counts[:, 1]).all()
    assert len(set(counts[:, 2].tolist())) > 1
