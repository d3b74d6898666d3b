"""Zero-TPrune: its parameters, schedules and presets, and what becomes of dropped tokens."""

from __future__ import annotations

import itertools

import pytest
import timm
import torch
from torch import Tensor, nn

import keeprate
from keeprate import KeeprateError, Stage, Tokens
from keeprate.reduction.schedule import scaled_blocks
from keeprate_methods.zero_tprune import ZeroTPrune
from references.tiny import (
    images_for,
    random_attention,
    random_tokens,
    tiny_vit,
    watched,
)


@pytest.mark.parametrize(
    ("depth", "thirds"),
    [(12, (3, 6, 3)), (24, (6, 12, 6)), (6, (2, 3, 1)), (4, (1, 2, 1)), (3, (1, 2, 0))],
)
def test_iterations_follow_the_relative_depth(depth: int, thirds: tuple[int, int, int]) -> None:
    expected = [30] * thirds[0] + [5] * thirds[1] + [1] * thirds[2]
    method = ZeroTPrune()
    assert [method.iterations_at(block, depth) for block in range(depth)] == expected
    assert [ZeroTPrune(iterations=(7,)).iterations_at(b, depth) for b in range(depth)] == [
        7
    ] * depth


@pytest.mark.parametrize(
    ("patches", "keep", "by_similarity"),
    [(196, 176, 10), (196, 175, 10), (10, 9, 0), (10, 8, 1), (9, 1, 4), (2, 1, 0)],
)
def test_half_of_the_removal_is_done_by_similarity_rounded_down(
    patches: int, keep: int, by_similarity: int
) -> None:
    removals = ZeroTPrune().removals(patches, keep)
    assert removals == {"S": by_similarity, "I": patches - keep - by_similarity}


@pytest.mark.parametrize(
    ("s_removal", "by_similarity"),
    [(0.0, 0), (0.25, 5), (0.99, 19), (1.0, 1), (10.0, 10), (50, 20)],
)
def test_the_share_or_number_similarity_removes_is_a_parameter(
    s_removal: float, by_similarity: int
) -> None:
    assert ZeroTPrune(s_removal=s_removal).removals(196, 176)["S"] == by_similarity


def test_patterns_with_only_similarity_remove_at_most_group_a(vit: nn.Module) -> None:
    message = (
        "Schedule 'keep=0.4@1' removes 15 of 25 patch tokens at block 1; "
        "method 'zero-tprune' can remove 12."
    )
    for pattern in ("S", "I'-S"):
        with pytest.raises(KeeprateError) as refused:
            keeprate.reduce(vit, "zero-tprune", "keep=0.4@1", pattern=pattern)
        assert str(refused.value) == message
    keeprate.reduce(vit, "zero-tprune", "keep=0.4@1", pattern="S", partition="none")


@pytest.mark.parametrize(
    ("depth", "blocks"),
    [
        (12, (1, 3, 5, 7, 9)),
        (24, (3, 7, 11, 15, 19)),
        (8, (1, 2, 3, 4, 6)),
        (4, (1, 2)),
        (2, (1,)),
    ],
)
def test_default_blocks_scale_with_the_depth_and_spare_the_first(
    depth: int, blocks: tuple[int, ...]
) -> None:
    assert scaled_blocks(ZeroTPrune(), depth) == blocks


def test_the_default_schedule_is_one_keep_rate_at_five_blocks() -> None:
    reduced = keeprate.reduce(
        timm.create_model("deit_small_patch16_224"), "zero-tprune", budget="65%"
    )
    stages = reduced.stages()
    assert [stage.block for stage in stages] == [1, 3, 5, 7, 9]
    rates = [b.keep / a.keep for a, b in itertools.pairwise(stages)]
    rates = [stages[0].keep / 196, *rates]
    assert max(rates) - min(rates) < 0.02


def test_the_preset_of_the_paper() -> None:
    with torch.device("meta"):
        model = timm.create_model("deit_small_patch16_224")
    reduced = keeprate.reduce(model, "zero-tprune", "paper-deit-s")
    assert [(stage.block, stage.keep) for stage in reduced.stages()] == [
        (0, 186),
        (2, 158),
        (5, 118),
        (8, 75),
        (10, 65),
    ]
    assert reduced.method.s_removal == 10
    entering = [196, 186, 158, 118, 75]
    removals = [
        reduced.method.removals(before, stage.keep)
        for before, stage in zip(entering, reduced.stages(), strict=True)
    ]
    assert [removal["S"] for removal in removals] == [10] * 5
    assert [removal["I"] for removal in removals] == [0, 18, 30, 33, 0]
    costs = reduced.costs()
    assert round((costs.model - costs.embedding) / 1e9, 4) == 3.0588
    assert ZeroTPrune.presets["paper-deit-s"].note.startswith("unverified")


def test_without_emphasis_the_variant_is_uniform(vit: nn.Module, vit_images: Tensor) -> None:
    kept = {}
    for emphasis in ("every", "start", "none"):
        reduced = keeprate.reduce(
            vit, "zero-tprune", "keep=0.5@0", pattern="I", emphasis=emphasis, trace=True
        )
        with torch.inference_mode():
            reduced(vit_images)
        kept[emphasis] = reduced.survivors[0].owner
    assert not torch.equal(kept["every"], kept["none"])


@pytest.mark.parametrize("emphasis", ["every", "start"])
def test_models_without_a_class_token_are_ranked_without_emphasis(emphasis: str) -> None:
    model = tiny_vit("vit_base_patch16_siglip_gap_224").double()
    images = images_for(model)
    owners = []
    for given in (emphasis, "none"):
        reduced = keeprate.reduce(model, "zero-tprune", "keep=0.5@1,2", emphasis=given, trace=True)
        with torch.inference_mode():
            reduced(images)
        owners.append(torch.stack([survivors.owner for survivors in reduced.survivors]))
    assert torch.equal(*owners)


def test_a_tolerance_keeps_what_many_iterations_keep(vit: nn.Module, vit_images: Tensor) -> None:
    owners = []
    for options in ({"tolerance": 1e-9}, {"iterations": (200,)}):
        reduced = keeprate.reduce(
            vit, "zero-tprune", "keep=0.5@1,2", pattern="I", trace=True, **options
        )
        with torch.inference_mode():
            reduced(vit_images)
        owners.append(torch.stack([survivors.owner for survivors in reduced.survivors]))
    assert torch.equal(*owners)


def test_kept_tokens_stay_in_their_order_behind_the_prefix() -> None:
    method = ZeroTPrune()
    tokens = random_tokens(4, 20, prefix=2, trace=True)
    attention = random_attention(tokens)
    stage = Stage(5, 9, 12)
    attention.given_score = method.score(tokens, attention, stage)
    after = method.reduce(tokens, attention, stage)
    assert torch.equal(after.x[:, :2], tokens.x[:, :2])
    for owner in after.owner.tolist():
        assert [position for position in owner if position >= 0] == list(range(2, 11))


@pytest.mark.parametrize("on_drop", ["mass", "merge"])
def test_absorbed_sizes_sum_to_the_patches(
    vit: nn.Module, vit_images: Tensor, on_drop: str
) -> None:
    method = ZeroTPrune(on_drop=on_drop)
    reduced = keeprate.reduce(vit, method, "keep=0.6@0,1,2", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(vit_images)
    for call, survivors in zip(calls, reduced.survivors, strict=True):
        assert call.after.size[:, 0].tolist() == [1, 1]
        assert call.after.size[:, 1:].sum(dim=1).tolist() == [25, 25]
        for owner, size in zip(survivors.owner, call.after.size, strict=True):
            assert torch.bincount(owner, minlength=len(size))[1:].tolist() == size[1:].tolist()


def test_mass_moves_sizes_and_leaves_the_features_of_the_kept(
    vit: nn.Module, vit_images: Tensor
) -> None:
    method = ZeroTPrune(on_drop="mass")
    reduced = keeprate.reduce(vit, method, "10@1", trace=True)
    with torch.inference_mode(), watched(method) as (calls):
        reduced(vit_images)
    before, after = calls[0].tokens.x, calls[0].after.x
    for image in range(2):
        assert all(
            any(torch.equal(token, other) for other in before[image]) for token in after[image]
        )
    assert calls[0].after.has_merged
    assert method.proportional_attention


@pytest.mark.parametrize("on_drop", ["drop", "mass", "merge"])
def test_sizes_enter_the_attention_only_where_they_were_absorbed(on_drop: str) -> None:
    assert ZeroTPrune(on_drop=on_drop).proportional_attention is (on_drop != "drop")


def test_random_partitions_differ_between_seeds_images_and_blocks(
    vit: nn.Module, vit_images: Tensor
) -> None:
    def owner(seed: int, index: list[int], block: int) -> Tensor:
        reduced = keeprate.reduce(
            vit, "zero-tprune", f"15@{block}", pattern="S", seed=seed, trace=True
        )
        with torch.inference_mode():
            reduced(vit_images[:1].expand(2, -1, -1, -1), torch.tensor(index))
        return reduced.survivors[0].owner

    first = owner(0, [3, 4], 1)
    assert torch.equal(first, owner(0, [3, 4], 1))
    assert not torch.equal(first[0], first[1])
    assert torch.equal(first[0], owner(0, [5, 3], 1)[1])
    assert not torch.equal(first, owner(1, [3, 4], 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": (1, 2)}, "iterations must be one number or three, each from 1 to 10000"),
        (
            {"iterations": (2**64,)},
            "iterations must be one number or three, each from 1 to 10000",
        ),
        ({"iterations": (0,)}, "iterations must be one number or three, each from 1 to 10000"),
        (
            {"feature": "x_pre", "feature_heads": "mean"},
            "feature_heads=mean needs heads, which feature=x_pre has not",
        ),
        ({"s_removal": -1.0}, "s_removal must not be negative"),
    ],
)
def test_senseless_parameters_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(KeeprateError) as refused:
        ZeroTPrune(**options)
    assert str(refused.value) == message


def test_the_layer_neither_changes_its_input_nor_tracks_gradients_of_scores() -> None:
    method = ZeroTPrune()
    tokens = random_tokens(2, 12)
    attention = random_attention(tokens)
    attention.q.requires_grad_()
    copies = [t.clone() for t in (tokens.x, tokens.size, attention.q, attention.k, attention.v)]
    score = method.score(tokens, attention, Stage(3, 6, 12))
    assert not score.requires_grad
    after = (tokens.x, tokens.size, attention.q, attention.k, attention.v)
    assert all(torch.equal(a, b) for a, b in zip(copies, after, strict=True))
    assert isinstance(tokens, Tokens)
