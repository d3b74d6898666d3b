"""Frequency-aware reduction: the most attended tokens, and the mean of all others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate import Stage
from keeprate.tokens import Tokens
from keeprate_methods.frequency import Frequency
from references.tiny import (
    attention_of,
    images_for,
    random_attention,
    random_tokens,
    tiny_vit,
    watched,
)

Matrix = list[list[float]]


def written_out(
    x: Matrix, heads: list[Matrix], size: list[float], prefix: int, keep: int, mean: int | None
) -> tuple[list[int], list[float], list[int]]:
    """Return the positions that stay, the new mean token and the positions in it.

    `mean` is the position of the mean so far, None at the first stage.
    """
    count = len(x)
    score = [
        sum(head[i][j] - 1 / count for head in heads for i in range(count)) / (len(heads) * count)
        for j in range(count)
    ]
    ranked = sorted((j for j in range(prefix, count) if j != mean), key=lambda j: -score[j])
    gone = sorted(ranked[keep:] + ([] if mean is None else [mean]))
    weight = sum(size[j] for j in gone)
    low = [sum(size[j] * x[j][c] for j in gone) / weight for c in range(len(x[0]))]
    return [*range(prefix), *sorted(ranked[:keep])], low, gone


@pytest.mark.parametrize("prefix", [0, 1, 2])
@pytest.mark.parametrize("keep", [1, 6, 9])
def test_one_stage_equals_the_slow_reference(prefix: int, keep: int) -> None:
    tokens = random_tokens(3, 11, prefix=prefix, trace=True)
    attention = random_attention(tokens)
    method, stage = Frequency(), Stage(3, keep, 12)
    attention.given_score = method.score(tokens, attention, stage)
    after = method.reduce(tokens, attention, stage)
    for image in range(3):
        heads = attention_of(attention, image)
        sizes = tokens.size[image].tolist()
        stay, low, gone = written_out(tokens.x[image].tolist(), heads, sizes, prefix, keep, None)
        assert torch.equal(after.x[image, :-1], tokens.x[image, stay])
        assert after.x[image, -1].tolist() == pytest.approx(low, abs=1e-14)
        assert after.owner is not None
        owner = after.owner[image].tolist()
        assert [patch + prefix for patch, at in enumerate(owner) if at == len(stay)] == gone


def test_two_stages_by_hand() -> None:
    """Four patches of one channel: 8 and 2 go, their mean is 5; then 6: (2 * 5 + 6) / 3."""
    tokens = Tokens.of(torch.tensor([[[8.0], [4.0], [2.0], [6.0]]]), trace=True)
    after = one_stage(tokens, [0.1, 0.4, 0.2, 0.3], keep=2)
    assert after.x.flatten().tolist() == [4, 6, 5]
    assert after.size.tolist() == [[1, 1, 2]]
    # the mean token draws most attention, and is not ranked
    last = one_stage(after, [0.3, 0.1, 0.6], keep=1)
    assert last.x.flatten().tolist() == pytest.approx([4, 16 / 3])
    assert last.size.tolist() == [[1, 3]]
    assert last.owner is not None
    assert last.owner.tolist() == [[1, 0, 1, 1]]
    # all that is left beside it stays: it takes in nothing
    assert torch.equal(one_stage(last, [0.5, 0.5], keep=1).x, last.x)


def one_stage(tokens: Tokens, column_means: list[float], keep: int) -> Tokens:
    attention = random_attention(tokens)
    attention.given_score = torch.tensor([column_means])
    return Frequency().reduce(tokens, attention, Stage(1, keep, 4))


def test_the_mean_goes_on_through_the_stages_of_a_model(vit: nn.Module) -> None:
    method = Frequency()
    reduced = keeprate.reduce(vit, method, "18@0,11@1,4@3", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(vit))
    assert [call.tokens.num_patch_tokens for call in calls] == [25, 19, 12]
    for number, call in enumerate(calls):
        for image in range(3):
            given: Tensor = call.tokens.x[image]
            stay, low, _ = written_out(
                given.tolist(),
                attention_of(call.attention, image),
                call.tokens.size[image].tolist(),
                1,
                call.stage.keep,
                call.tokens.count - 1 if number else None,
            )
            assert torch.equal(call.after.x[image, :-1], given[stay])
            torch.testing.assert_close(call.after.x[image, -1].tolist(), low)
    assert reduced.token_counts[0].tolist() == [20, 13, 13, 6]
    assert (reduced.survivors[-1].owner >= 1).all()


def test_the_first_stage_keeps_what_attention_score_keeps(vit: nn.Module) -> None:
    alone, beside = (
        keeprate.reduce(vit, name, "18@1", trace=True) for name in ("attention-score", "frequency")
    )
    with torch.inference_mode():
        alone(images_for(vit)), beside(images_for(vit))
    owner, owner_beside = alone.survivors[0].owner, beside.survivors[0].owner
    assert torch.equal(owner >= 0, owner_beside < 19)


def test_the_ruler_counts_the_mean_token_and_its_sum() -> None:
    model = tiny_vit()
    cost = keeprate.reduce(model, "frequency", "18@1").costs()
    one_more = keeprate.reduce(model, "attention-score", "19@1").costs()
    assert cost.model == one_more.model
    assert cost.overhead == one_more.overhead + 7 * 24
