"""ToMe: matching, merging and the whole forward pass equal written-out loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import keeprate
from keeprate import Attention, Needs, Stage, Tokens
from keeprate_methods.matching import bipartite_match
from keeprate_methods.tome import ToMe
from references import merging as slow
from references.tiny import images_for, random_attention, random_tokens, tiny_vit, watched


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return tiny_vit(depth=3).double()


def mean_keys(attention: Attention, image: int) -> list[list[float]]:
    heads = attention.k[image].tolist()
    return [
        [sum(numbers) / len(heads) for numbers in zip(*vectors, strict=True)]
        for vectors in zip(*heads, strict=True)
    ]


def check(before: Tokens, attention: Attention, after: Tokens, removed: int) -> None:
    """Compare one merging step, image by image: what merged, sizes, means, order and owners."""
    for image in range(len(before.x)):
        merged = slow.merge(mean_keys(attention, image), before.num_prefix, removed)
        size = before.size[image].tolist()
        assert after.size[image].tolist() == merged.sizes(size)
        means = torch.tensor(merged.means(before.x[image].tolist(), size), dtype=torch.float64)
        torch.testing.assert_close(after.x[image], means, rtol=0, atol=1e-12)
        assert before.owner is not None
        assert after.owner is not None
        home = {token: new for new, group in enumerate(merged.groups) for token in group}
        assert after.owner[image].tolist() == [home[old] for old in before.owner[image].tolist()]


@pytest.mark.parametrize("prefix", [0, 1, 2, 5])
@pytest.mark.parametrize("patches", [2, 3, 4, 7, 10, 11])
def test_merging_any_number_equals_the_reference(prefix: int, patches: int) -> None:
    tokens = random_tokens(3, patches, prefix=prefix, sizes=True, trace=True)
    attention = random_attention(tokens)
    for removed in range(1, patches // 2 + 1):
        after = ToMe().reduce(tokens, attention, Stage(0, patches - removed, 12))
        check(tokens, attention, after, removed)


def test_the_order_is_prefix_then_what_is_left_of_a_then_b() -> None:
    tokens = random_tokens(1, 8, prefix=2)
    attention = random_attention(tokens)
    match = bipartite_match(attention.k.mean(dim=1), 2, 2)
    assert match.order[0, :2].tolist() == [0, 1]
    left_of_a = [token for token in (2, 4, 6, 8) if token not in match.source[0].tolist()]
    assert match.order[0, 2:].tolist() == [*left_of_a, 3, 5, 7, 9]


def test_at_most_set_a_merges_away_whatever_is_asked() -> None:
    x = torch.randn(2, 8, 4)
    tokens = Tokens.of(x, num_prefix=1, has_class_token=True)
    keys = x[:, None]
    attention = Attention(keys, keys, keys, 1.0, None, x, Needs.KEYS)
    after = ToMe().reduce(tokens, attention, Stage(0, 1, 12))
    # patches at positions 2, 4 and 6 merge into those at 1, 3, 5 and 7
    assert after.num_patch_tokens == 4
    assert after.size.sum(dim=1).tolist() == [8, 8]


def test_a_merge_by_hand() -> None:
    keys = torch.tensor([[9.0, 0], [1, 0], [1, 0.1], [0, 1], [0.5, 1], [-1, 0]])
    tokens = Tokens(
        x=torch.tensor([[[5.0], [1], [2], [3], [7], [10]]]),
        size=torch.tensor([[1.0, 1, 3, 1, 1, 2]]),
        num_prefix=1,
        has_class_token=True,
        image=torch.tensor([0]),
        owner=torch.tensor([[1, 2, 3, 4, 5]]),
    )
    keys = keys[None, None]
    attention = Attention(keys, keys, keys, 1.0, None, tokens.x, Needs.KEYS)
    after = ToMe().reduce(tokens, attention, Stage(0, 4, 12))
    assert after.x.flatten().tolist() == [5, 7, (1 + 3 * 2) / 4, 3, 10]
    assert after.size.flatten().tolist() == [1, 1, 4, 1, 2]
    assert after.owner.tolist() == [[2, 2, 3, 1, 4]]


def test_several_tokens_may_merge_into_one() -> None:
    keys = torch.tensor([[0.0, 9], [1, 0], [1, 0.1], [-1, 0], [1, 0.2], [0, -1]])[None, None]
    tokens = Tokens.of(torch.arange(6.0)[None, :, None], num_prefix=1, has_class_token=True)
    attention = Attention(keys, keys, keys, 1.0, None, tokens.x, Needs.KEYS)
    after = ToMe().reduce(tokens, attention, Stage(0, 3, 12))
    torch.testing.assert_close(after.x.flatten(), torch.tensor([0.0, (1 + 2 + 4) / 3, 3, 5]))
    assert after.size.flatten().tolist() == [1, 3, 1, 1]


@pytest.mark.sample(2)
@pytest.mark.parametrize("proportional", [True, False])
@pytest.mark.parametrize("schedule", ["r=6", "r=8..0", "r=9,2,3"])
def test_the_forward_pass_equals_a_written_out_one(
    vit: nn.Module, schedule: str, proportional: bool
) -> None:
    removals = {"r=6": [6, 6, 6], "r=8..0": [8, 4, 0], "r=9,2,3": [9, 2, 3]}[schedule]
    images = images_for(vit, batch=2)
    reduced = keeprate.reduce(vit, "tome", schedule, proportional_attention=proportional)
    with torch.inference_mode():
        logits = reduced(images)
        expected = [slow.forward(vit, image, removals, proportional) for image in images]
    torch.testing.assert_close(logits, torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_proportional_attention_matters(vit: nn.Module) -> None:
    images = images_for(vit)
    with torch.inference_mode():
        on, off = (
            keeprate.reduce(vit, "tome", "r=6", proportional_attention=switch)(images)
            for switch in (True, False)
        )
    assert (on - off).abs().max() > 1e-2


def test_without_proportional_attention_sizes_still_weigh_the_means(vit: nn.Module) -> None:
    method = ToMe(proportional_attention=False)
    reduced = keeprate.reduce(vit, method, "r=6", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(vit))
    assert len(calls) == 3
    for call in calls:
        check(call.tokens, call.attention, call.after, 6)
        assert call.attention.mask is None


def test_attention_logits_of_later_blocks_gain_the_log_of_the_size(vit: nn.Module) -> None:
    method = ToMe()
    reduced = keeprate.reduce(vit, method, "r=6", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(vit))
    assert calls[0].attention.mask is None
    for call in calls[1:]:
        mask = call.attention.mask[:, 0, 0]
        torch.testing.assert_close(mask.exp(), call.tokens.size, rtol=1e-14, atol=0)
        assert call.tokens.size.max() > 1


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "vit_base_patch16_siglip_gap_224",
        "beit3_base_patch16_224",
        "vit_base_patch16_siglip_224",
    ],
)
def test_a_run_equals_an_unmerged_one_in_which_merged_patches_are_averaged_in_place(
    name: str,
) -> None:
    """A token of size s with log(s) on its logit counts like s equal tokens, in pooling too."""
    model = tiny_vit(name, depth=2, seed=5).double()
    prefix = model.num_prefix_tokens
    images = images_for(model, batch=1)
    reduced = keeprate.reduce(model, "tome", "r=10,5", trace=True)
    with torch.inference_mode():
        logits = reduced(images)
        x = model.norm_pre(model._pos_embed(model.patch_embed(images)))
        for block, survivors in zip(model.blocks, reduced.survivors, strict=True):
            x = x + block.ls1(block.attn(block.norm1(x)))
            x = averaged_in_place(x, prefix, survivors.owner[0].tolist())
            x = x + block.ls2(block.mlp(block.norm2(x)))
        expected = model.forward_head(model.norm(x))
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=1e-6)


def averaged_in_place(x: Tensor, prefix: int, owner: list[int]) -> Tensor:
    """Give every patch of x (1, prefix + P, C) the mean of the patches of the same owner."""
    out = x.clone()
    for patch, token in enumerate(owner):
        members = [prefix + other for other, home in enumerate(owner) if home == token]
        out[0, prefix + patch] = sum(x[0, member] for member in members) / len(members)
    return out


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("deit_tiny_distilled_patch16_224", 2), ("vit_small_patch14_reg4_dinov2", 5)],
)
def test_distillation_and_register_tokens_never_merge(name: str, prefix: int) -> None:
    model = tiny_vit(name).double()
    method = ToMe()
    reduced = keeprate.reduce(model, method, "r=12", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(model))
    assert [call.after.num_patch_tokens for call in calls] == [13, 7, 4, 2]
    for call in calls:
        assert call.tokens.num_prefix == call.after.num_prefix == prefix
        assert torch.equal(call.after.x[:, :prefix], call.tokens.x[:, :prefix])
        assert (call.after.size[:, :prefix] == 1).all()
        assert (call.after.owner >= prefix).all()
        check(call.tokens, call.attention, call.after, 12)


@pytest.mark.parametrize(
    ("schedule", "keeps"),
    [
        ("r=5", [20, 15, 10, 5]),
        ("r=13", [13, 7, 4, 2]),
        ("r=12..0", [13, 7, 4, 4]),
        ("r=3,0,20,1", [22, 22, 11, 10]),
    ],
)
def test_r_is_capped_at_half_of_the_patch_tokens(schedule: str, keeps: list[int]) -> None:
    reduced = keeprate.reduce(tiny_vit(), "tome", schedule)
    assert [stage.keep for stage in reduced.stages()] == keeps
    reduced(images_for(reduced.model, batch=1))
    assert reduced.token_counts[0].tolist() == [keep + 1 for keep in keeps]


def test_sizes_sum_to_the_number_of_patches(vit: nn.Module) -> None:
    method = ToMe()
    reduced = keeprate.reduce(vit, method, "r=9", trace=True)
    with torch.inference_mode(), watched(method) as calls:
        reduced(images_for(vit))
    for call, survivors in zip(calls, reduced.survivors, strict=True):
        assert (call.after.size[:, 1:].sum(dim=1) == 25).all()
        assert torch.equal(call.after.owner, survivors.owner)
        for owner, size in zip(survivors.owner, call.after.size, strict=True):
            assert torch.bincount(owner, minlength=len(size))[1:].tolist() == size[1:].tolist()


def test_equal_keys_merge_the_earliest_tokens_in_every_batch() -> None:
    tokens = random_tokens(2, 9)
    keys = torch.ones(2, 3, 10, 4, dtype=torch.float64)
    attention = Attention(keys, keys, keys, 0.5, None, tokens.x, Needs.KEYS)
    match = bipartite_match(attention.k.mean(dim=1), 1, 2)
    assert match.source.tolist() == [[2, 4], [2, 4]]
    assert match.into.tolist() == [[1, 1], [1, 1]]
