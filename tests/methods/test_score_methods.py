"""Methods that rank tokens by one number: random, attention-score and class-attention."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor, nn

import keeprate
from keeprate import Attention, KeeprateError, Method, Needs, Stage
from keeprate.plugins.registry import registry
from keeprate_methods.attention_score import AttentionScore
from keeprate_methods.class_attention import ClassAttention
from keeprate_methods.page_rank import page_rank
from keeprate_methods.random_drop import RandomDrop
from references.tiny import (
    attention_of,
    images_for,
    random_attention,
    random_tokens,
    tiny_vit,
    watched,
)

STAGE = Stage(block=3, keep=5, depth=12)


def column_means(heads: list[list[list[float]]]) -> list[float]:
    count = len(heads[0])
    return [
        sum(head[i][j] for head in heads for i in range(count)) / (len(heads) * count)
        for j in range(count)
    ]


def class_rows(heads: list[list[list[float]]]) -> list[float]:
    return [sum(head[0][j] for head in heads) / len(heads) for j in range(len(heads[0]))]


REFERENCES = {AttentionScore: column_means, ClassAttention: class_rows}


@pytest.mark.parametrize("cls", REFERENCES)
@pytest.mark.parametrize("prefix", [1, 2, 5])
def test_scores_equal_the_reference(cls: type[Method], prefix: int) -> None:
    tokens = random_tokens(3, 11, prefix=prefix)
    attention = random_attention(tokens)
    score = cls().score(tokens, attention, STAGE)
    expected = [REFERENCES[cls](attention_of(attention, image)) for image in range(3)]
    torch.testing.assert_close(
        score, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("cls", REFERENCES)
def test_inside_a_model_the_best_patch_tokens_stay(vit: nn.Module, cls: type[Method]) -> None:
    method = cls()
    reduced = keeprate.reduce(vit, method, "18@0,11@1,4@3", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(vit))
    assert [call.stage.block for call in calls] == [0, 1, 3]
    for call in calls:
        for image in range(3):
            score = REFERENCES[cls](attention_of(call.attention, image))
            patches = sorted(range(1, len(score)), key=lambda token: -score[token])
            kept = [0, *sorted(patches[: call.stage.keep])]
            assert torch.equal(call.after.x[image], call.tokens.x[image][kept])


def test_attention_score_is_one_iteration_of_page_rank() -> None:
    tokens = random_tokens(2, 12)
    attention = random_attention(tokens)
    torch.testing.assert_close(
        AttentionScore().score(tokens, attention, STAGE),
        page_rank(attention.weights, iterations=1).mean(dim=1),
        rtol=0,
        atol=1e-14,
    )


def test_attention_score_works_without_a_class_token() -> None:
    model = tiny_vit("vit_base_patch16_siglip_gap_224")
    reduced = keeprate.reduce(model, "attention-score", "keep=0.5@1")
    assert reduced(images_for(model)).isfinite().all()


def test_class_attention_reads_one_row_and_leaves_fused_attention_alone(vit: nn.Module) -> None:
    tokens = random_tokens(2, 12)
    attention = random_attention(tokens)
    attention.needs = Needs.CLASS_ROW
    score = ClassAttention().score(tokens, attention, STAGE)
    assert attention.given_weights is None
    attention.needs = Needs.WEIGHTS
    torch.testing.assert_close(score, attention.weights[:, :, 0].mean(dim=1), rtol=0, atol=1e-14)


def test_class_attention_refuses_a_model_without_class_token_and_names_methods_that_work() -> None:
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(tiny_vit("vit_base_patch16_siglip_gap_224"), "class-attention", "keep=0.7")
    others = [
        name
        for name, offer in registry().methods.items()
        if offer.cls.reduces
        and not offer.cls.requires_class_token
        and not offer.cls.requires_weights
    ]
    assert str(refused.value) == (
        "Method 'class-attention' needs a class token, and this VisionTransformer has none. "
        f"Methods that would work: {', '.join(others)}."
    )
    assert {"random", "attention-score", "tome", "zero-tprune"} <= set(others)
    model = tiny_vit("vit_base_patch16_siglip_gap_224")
    for name in others:
        keeprate.reduce(model, name, budget="80%", calibration=images_for(model))


def nothing_to_read(tokens: object) -> Attention:
    empty = torch.empty(0)
    return Attention(empty, empty, empty, 1.0, None, empty, Needs.NOTHING)


def kept_of(reduced: nn.Module, images: Tensor, index: Tensor) -> list[list[int]]:
    with torch.inference_mode():
        reduced(images, index)
    return reduced.survivors[-1].owner.tolist()


def test_random_depends_on_seed_image_and_block_alone(vit: nn.Module) -> None:
    images = images_for(vit, batch=6)
    index = torch.tensor([40, 7, 13, 0, 99, 2])
    reduced = keeprate.reduce(vit, "random", "13@1,6@3", trace=True)
    together = kept_of(reduced, images, index)
    for size in (1, 2, 4):
        parts = zip(images.split(size), index.split(size), strict=True)
        assert [owner for part in parts for owner in kept_of(reduced, *part)] == together
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    shuffled = kept_of(reduced, images[order], index[order])
    assert shuffled == [together[i] for i in order.tolist()]
    assert len({tuple(owner) for owner in together}) == 6


def test_random_ignores_what_the_image_shows(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, "random", "13@1", trace=True)
    index = torch.tensor([3, 4])
    assert kept_of(reduced, images_for(vit, 2, seed=1), index) == kept_of(
        reduced, images_for(vit, 2, seed=2), index
    )


def test_random_draws_anew_for_every_seed_and_block() -> None:
    tokens = random_tokens(1, 30)
    attention = nothing_to_read(tokens)
    draws = {
        (seed, block): tuple(
            RandomDrop(seed).score(tokens, attention, Stage(block, 5, 12))[0].tolist()
        )
        for seed in (0, 1, 2)
        for block in (0, 1, 7)
    }
    assert len(set(draws.values())) == 9


def test_random_keeps_every_position_equally_often() -> None:
    tokens = random_tokens(4000, 20, channels=1, trace=True)
    attention = nothing_to_read(tokens)
    method = RandomDrop(seed=0)
    attention.given_score = method.score(tokens, attention, STAGE)
    after = method.reduce(tokens, attention, STAGE)
    kept = (after.owner >= 0).sum(dim=0)
    assert int(kept.sum()) == 4000 * 5
    # Without replacement counts vary less, by 1 - 5 / 20, and depend on each other, 19 / 20.
    statistic = float(((kept - 1000.0) ** 2 / 1000.0).sum()) / (1 - 5 / 20) * 19 / 20
    assert 0.005 < chi2.sf(statistic, df=19) < 0.995


def test_random_reads_and_writes_no_global_random_state(vit: nn.Module) -> None:
    reduced = keeprate.reduce(vit, "random", "keep=0.5@1,2")
    images = images_for(vit)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = reduced(images)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)
    assert torch.equal(reduced(images), first)
