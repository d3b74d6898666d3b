"""timm's other ViT blocks: differential, in branches, side by side."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.models.naflexvit import NaFlexVit
from timm.models.vision_transformer import (
    Block,
    DiffParallelScalingBlock,
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
    VisionTransformer,
)
from torch import nn

import keeprate
from battery import (
    INSIDE,
    SMALL,
    assert_equals_oracle,
    assert_half_precision,
    assert_identical,
    assert_macs,
    made,
    randomised,
)
from keeprate import Attention, KeeprateError, Needs, Place, Stage, Tokens
from keeprate.backbones.lookup import adapt
from keeprate.reduction import macs as ruler
from keeprate.reduction import proof
from references.uneven import assert_as_if_each_ran_alone

pytestmark = pytest.mark.sample(2)


def vit(**options: object) -> Callable[[], nn.Module]:
    return lambda: VisionTransformer(**SMALL, **options).eval()


FAMILIES = {
    "differential": made("vit_dwee_patch16_reg1_gap_256"),
    "differential, post-norm": vit(attn_layer="diff", block_fn=ResPostBlock, qk_norm=True),
    "two branches (18x2)": made("vit_small_patch16_18x2_224"),
    "two branches, layer scale": vit(block_fn=ParallelThingsBlock, init_values=0.5, qk_norm=True),
    "side by side": made("vit_pwee_patch16_reg1_gap_256"),
    "side by side, no bias (xp)": made("vit_base_patch16_xp_224"),
    "side by side, differential": made("vit_dpwee_patch16_reg1_gap_256"),
}
CASES = [
    (family, place)
    for family in FAMILIES
    for place in Place
    if place is not Place.AFTER_ATTENTION or "side by side" not in family
]


@pytest.mark.parametrize(("family", "place"), CASES)
def test_whole_and_pruned_runs_are_right_and_cost_what_is_counted(
    family: str, place: Place
) -> None:
    model = randomised(FAMILIES[family]())
    assert_identical(model, place)
    for needs in (Needs.KEYS, Needs.WEIGHTS):
        assert_equals_oracle(model, place, needs)
    if place in INSIDE:
        assert_macs(model, place)


@pytest.mark.parametrize(("family", "place"), CASES)
def test_images_that_keep_different_numbers_do_not_mix(family: str, place: Place) -> None:
    model = randomised(FAMILIES[family]()).double()
    assert_as_if_each_ran_alone(model, adapt(model).example(3), place)


@pytest.mark.parametrize("family", FAMILIES)
def test_methods_and_half_precision_run(family: str) -> None:
    model = randomised(FAMILIES[family]())
    images = adapt(model).example(1)
    methods = {"tome": "r=2", "zero-tprune": "keep=0.7@1,2"}
    if "side by side" in family:
        methods.pop("tome")
    with torch.inference_mode():
        for name, schedule in methods.items():
            logits = keeprate.reduce(model, name, schedule)(images)
            assert logits.shape == (1, 7)
            assert bool(logits.isfinite().all())
    assert_half_precision(model, torch.bfloat16)


def test_methods_between_the_halves_are_refused_where_they_run_side_by_side() -> None:
    model = FAMILIES["side by side"]()
    with pytest.raises(KeeprateError, match="attention and MLP run side by side"):
        keeprate.reduce(model, "tome", "r=2")
    model = FAMILIES["side by side, no bias (xp)"]()
    with pytest.raises(KeeprateError, match="empty_last_mlp needs blocks whose MLP follows"):
        keeprate.reduce(model, "zero-tprune", "keep=0.7@1", empty_last_mlp=True)


@pytest.mark.parametrize("family", [family for family in FAMILIES if "side by side" in family])
def test_shared_projections_are_split_between_attention_and_mlp(family: str) -> None:
    model = FAMILIES[family]()
    hidden, width, _, _ = model.blocks[0].in_split
    tokens = 4 * (64 + model.num_prefix_tokens)
    costs = ruler.costs(model)
    assert costs.mlp == tokens * 2 * hidden * width
    assert costs.projections == tokens * 4 * width * width


class Watching(proof.Probe):
    """Keeps what it saw of the attention."""

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> torch.Tensor:
        self.seen = attention
        return super().score(tokens, attention, stage)


@pytest.mark.parametrize(
    ("family", "heads", "head_dim"),
    [("differential", 6, 8), ("two branches (18x2)", 6, 16), ("side by side, differential", 6, 8)],
)
def test_the_heads_of_all_maps_stand_side_by_side(family: str, heads: int, head_dim: int) -> None:
    model = randomised(FAMILIES[family]()).double()
    backbone = adapt(model)
    method = Watching(Place.AFTER_BLOCK, Needs.WEIGHTS)
    images = backbone.example(2)
    with torch.inference_mode():
        keeprate.reduce(model, method, "keep=0.6@0")(images)
        x = backbone.embed(images)
        maps = torch.stack(maps_of(model.blocks[0], x), dim=1)  # (B, 2, 3, N, N)
    assert (backbone.heads, backbone.head_dim, backbone.maps) == (heads, head_dim, 2)
    for part in (method.seen.q, method.seen.k, method.seen.v):
        assert part.shape == (2, heads, x.shape[1], head_dim)
    torch.testing.assert_close(method.seen.weights, maps.flatten(1, 2))


def maps_of(block: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Return a block's two attention maps (B, 3, N, N), written out."""
    if isinstance(block, ParallelThingsBlock):
        projected = [each.attn.qkv(each.norm(x)) for each in block.attns]
        pairs = [each.unflatten(-1, (3, 3, 16)).unbind(2)[:2] for each in projected]
    else:
        one_piece = isinstance(block, DiffParallelScalingBlock)
        qkv = block.in_proj(block.in_norm(x)) if one_piece else block.attn.qkv(block.norm1(x))
        q, k = (each.unflatten(-1, (3, 2, 8)) for each in qkv[..., -144:-48].split(48, -1))
        pairs = [(q[..., i, :], k[..., i, :]) for i in (0, 1)]
    return [
        (torch.einsum("bihd,bjhd->bhij", q, k) * q.shape[-1] ** -0.5).softmax(-1) for q, k in pairs
    ]


class PairsMerged(keeprate.Method):
    """Merges patch tokens into the one before them, pair by pair from the first on."""

    name = "pairs-merged"
    proportional_attention = True

    def __init__(self, place: Place) -> None:
        self.place = place

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        merged, more = 64 - tokens.num_patch_tokens, tokens.num_patch_tokens - stage.keep
        first = tokens.num_prefix + merged + 2 * torch.arange(more).expand(len(tokens.x), -1)
        return tokens.merge(first + 1, first)


@pytest.mark.parametrize(
    "build",
    [
        vit(pos_embed="none", global_pool="avg", class_token=False),
        vit(pos_embed="none", global_pool="map", class_token=False),
        vit(pos_embed="none", attn_layer="diff", block_fn=ResPostBlock, global_pool="avg"),
        vit(pos_embed="none", block_fn=ParallelThingsBlock, reg_tokens=2, global_pool="avg"),
        lambda: NaFlexVit(
            **SMALL, pos_embed="none", pos_embed_grid_size=None, attn_layer="diff", reg_tokens=1
        ).eval(),
    ],
    ids=["average", "attention pooling", "differential", "two branches", "NaFlex"],
)
@pytest.mark.parametrize("place", Place)
def test_merging_equal_tokens_changes_nothing(build: Callable[[], nn.Module], place: Place) -> None:
    model = randomised(build()).double()
    columns = torch.randn(2, 3, 32, 4, 4, dtype=torch.float64)
    images = columns.repeat_interleave(2, dim=3).flatten(3)  # every other patch is a copy
    method = PairsMerged(place)
    with torch.inference_mode():
        reduced = keeprate.reduce(model, method, "keep=0.8@0,2")
        torch.testing.assert_close(reduced(images), model(images), rtol=1e-9, atol=1e-9)
    assert reduced.token_counts[0, -1] < reduced.token_counts[0, 0] < 64


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"attn": nn.Identity()}, "the attention of block 1 is a Identity, not Attention or Diff"),
        ({"mlp": nn.Identity()}, "the MLP of block 1 is a Identity, not Mlp or GluMlp or SwiGLU"),
    ],
    ids=["attention", "MLP"],
)
def test_parts_of_other_classes_are_refused(change: dict[str, nn.Module], why: str) -> None:
    model = vit()()
    for name, part in change.items():
        setattr(model.blocks[1], name, part)
    with pytest.raises(KeeprateError, match=why):
        adapt(model)


def test_branches_of_other_classes_are_refused() -> None:
    differential = vit(block_fn=ParallelThingsBlock, attn_layer="diff")()
    with pytest.raises(KeeprateError, match="an attention of block 0 is a DiffAttention, not Att"):
        adapt(differential)
    model = vit(block_fn=ParallelThingsBlock)()
    model.blocks[0].ffns[1].mlp = nn.Identity()
    with pytest.raises(KeeprateError, match="an MLP of block 0 is a Identity, not Mlp"):
        adapt(model)


def test_rows_of_unlike_blocks_are_refused() -> None:
    model = vit()()
    model.blocks[1] = nn.Identity()
    with pytest.raises(KeeprateError, match="block 1 is a Identity, not Block or ResPostBlock or"):
        adapt(model)
    for other in (ParallelScalingBlock(48, 3), Block(48, 4), Block(48, 3, attn_layer="diff")):
        model.blocks[1] = other
        with pytest.raises(KeeprateError, match="blocks whose heads differ are not supported"):
            adapt(model)
    model.blocks[1] = ResPostBlock(48, 3)
    assert_identical(randomised(model.eval()))
