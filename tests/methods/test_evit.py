"""EViT: the best patch tokens by class attention, and one token that fuses the others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import keeprate
from keeprate import Stage
from keeprate_methods.evit import EViT
from references.tiny import (
    attention_of,
    images_for,
    random_attention,
    random_tokens,
    tiny_vit,
    watched,
)


def written_out(
    x: list[list[float]], heads: list[list[list[float]]], prefix: int, keep: int
) -> tuple[list[int], list[float], list[int]]:
    """Return the positions that stay, the fused token and the positions in it, best first."""
    score = [sum(head[0][j] for head in heads) / len(heads) for j in range(len(x))]
    ranked = sorted(range(prefix, len(x)), key=lambda j: -score[j])
    gone = ranked[keep:]
    fused = [sum(score[j] * x[j][c] for j in gone) for c in range(len(x[0]))]
    return [*range(prefix), *sorted(ranked[:keep])], fused, gone


@pytest.mark.parametrize("prefix", [1, 2, 5])
@pytest.mark.parametrize("keep", [1, 6, 10])
def test_one_stage_equals_the_slow_reference(prefix: int, keep: int) -> None:
    tokens = random_tokens(3, 11, prefix=prefix, trace=True)
    tokens = replace(tokens, follows_positions=True)
    attention = random_attention(tokens)
    method, stage = EViT(), Stage(3, keep, 12)
    attention.given_score = method.score(tokens, attention, stage)
    after = method.reduce(tokens, attention, stage)
    for image in range(3):
        stay, fused, gone = written_out(
            tokens.x[image].tolist(), attention_of(attention, image), prefix, keep
        )
        assert torch.equal(after.x[image, :-1], tokens.x[image, stay])
        assert after.x[image, -1].tolist() == pytest.approx(fused, abs=1e-14)
        assert after.size[image].tolist() == [1.0] * len(stay) + [len(gone)]
        assert after.position[image].tolist() == [*stay, gone[0]]
        owner = after.owner[image].tolist()
        assert [patch + prefix for patch, at in enumerate(owner) if at == len(stay)] == sorted(gone)


def test_the_fused_token_competes_at_the_next_stage(vit: nn.Module) -> None:
    method = EViT()
    reduced = keeprate.reduce(vit, method, "18@0,11@1,4@3", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(vit))
    assert [call.tokens.num_patch_tokens for call in calls] == [25, 19, 12]
    for call in calls:
        for image in range(3):
            heads = attention_of(call.attention, image)
            stay, fused, _ = written_out(call.tokens.x[image].tolist(), heads, 1, call.stage.keep)
            assert torch.equal(call.after.x[image, :-1], call.tokens.x[image, stay])
            torch.testing.assert_close(call.after.x[image, -1].tolist(), fused)
    assert reduced.token_counts[0].tolist() == [20, 13, 13, 6]
    assert (reduced.survivors[-1].owner >= 1).all()


def test_without_fusing_it_is_class_attention(vit: nn.Module) -> None:
    images = images_for(vit)
    with torch.inference_mode():
        found = keeprate.reduce(vit, "evit", "18@0,11@2", fuse=False)(images)
        assert torch.equal(found, keeprate.reduce(vit, "class-attention", "18@0,11@2")(images))


COUNTS = {
    (True, "ceil"): [138, 98, 70],  # ceil(.7 * 196), ceil(.7 * 139), ceil(.7 * 99)
    (False, "ceil"): [138, 97, 68],
    (True, "product"): [137, 96, 67],  # int(.7 ** i * 196)
    (False, "product"): [137, 96, 67],
}


@pytest.mark.parametrize(("fuse", "count"), COUNTS)
def test_a_keep_rate_counts_as_it_is_asked_to(fuse: bool, count: str) -> None:
    with torch.device("meta"):
        import timm

        deit = timm.create_model("vit_small_patch16_224").eval()
    reduced = keeprate.reduce(deit, "evit", "keep=0.7@3,6,9", fuse=fuse, count=count)
    assert [stage.keep for stage in reduced.stages()] == COUNTS[fuse, count]


def test_the_ruler_counts_the_fused_token_and_its_sum() -> None:
    model = tiny_vit()
    cost = keeprate.reduce(model, "evit", "18@1").costs()
    without = keeprate.reduce(model, "class-attention", "18@1").costs()
    one_more = keeprate.reduce(model, "class-attention", "19@1").costs()
    assert cost.model == one_more.model > without.model
    assert cost.overhead == without.overhead + 7 * 24


def test_other_runs_share_the_blocks_before_and_a_budget_is_met() -> None:
    from keeprate.reduction.shared_forward import SharedForward

    model = tiny_vit()
    models = {
        "evit": keeprate.reduce(model, "evit", budget="75%"),
        "earlier": keeprate.reduce(model, "evit", "18@1,9@3"),
        "later": keeprate.reduce(model, "evit", "18@1,12@2"),
    }
    images, index = images_for(model), torch.arange(3)
    with torch.inference_mode():
        together = SharedForward(models)(images, index, list(models))
        for name, reduced in models.items():
            assert torch.equal(together.logits[name], reduced(images, index))
            assert reduced.macs_per_image.total.tolist() == [reduced.costs().total] * 3
    full = keeprate.macs(model)
    assert 0.6 * full < models["evit"].costs().total <= 0.75 * full
