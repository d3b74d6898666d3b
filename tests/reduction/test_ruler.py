"""The ruler: published and hand-computed multiply-accumulates, and what methods declare."""

from __future__ import annotations

from functools import cache

import pytest
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import keeprate
from keeprate import Shape, Stage
from keeprate.backbones.loading.timm_request import TimmRequest
from keeprate.reduction.macs import costs as costs_of
from keeprate.reduction.proof import flop_counter
from keeprate.reduction.reduced_model import ReducedModel
from keeprate_methods.attention_score import AttentionScore
from keeprate_methods.page_rank import MOST_ITERATIONS
from keeprate_methods.zero_tprune import ZeroTPrune

DEIT_S = "deit_small_patch16_224"


@cache
def shapes_of(name: str, side: int | None = None) -> nn.Module:
    size = None if side is None else (side, side)
    return TimmRequest(name, size, None).skeleton().eval()


def counted(model: nn.Module, side: int = 224) -> int:
    """Return what torch counts, on shapes alone so that fused attention is not missed."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("deit_tiny_patch16_224", 1_253_683_200),
        (DEIT_S, 4_598_882_304),
        ("deit_base_patch16_224", 17_563_828_224),
        ("deit_small_distilled_patch16_224", 4_624_140_288),
        ("vit_large_patch16_224", 61_554_712_576),
    ],
)
def test_full_models_cost_what_is_published_and_what_torch_counts(name: str, macs: int) -> None:
    assert keeprate.macs(shapes_of(name)) == macs
    assert counted(shapes_of(name)) == macs


def test_products_with_a_vector_are_counted() -> None:
    with flop_counter() as counter:
        one, matrix, vector = torch.ones(5), torch.ones(3, 5), torch.ones(5)
        _ = torch.ones(2, 3, 5) @ vector, torch.addmv(torch.ones(3), matrix, vector), one @ vector
    assert counter.get_total_flops() // 2 == 2 * 3 * 5 + 3 * 5 + 5


def test_a_model_by_hand() -> None:
    """DeiT-S: 196 patches of 768 numbers, 12 blocks of 384 channels, 197 tokens, 1000 classes."""
    costs = keeprate.reduce(shapes_of(DEIT_S), "full").costs()
    assert costs.embedding == 196 * 768 * 384
    assert costs.projections == 12 * 197 * 4 * 384 * 384
    assert costs.attention == 12 * 2 * 197 * 197 * 384
    assert costs.mlp == 12 * 197 * 8 * 384 * 384
    assert costs.head == 384 * 1000
    assert costs.overhead == 0
    assert costs.total == costs.model == 4_598_882_304


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("vit_tiny_patch16_224", 2048),
        ("vit_large_patch16_384", 2048),
        ("vit_huge_patch14_224", 1792),
        ("vit_giant_patch14_dinov2", 1792),
        ("vit_7b_patch16_dinov3", 2048),
    ],
)
def test_models_cost_what_torch_counts_at_16384_patches(name: str, side: int) -> None:
    model = shapes_of(name, side)
    assert counted(model, side) == keeprate.macs(model)
    reduced = keeprate.reduce(model, "zero-tprune", budget="65%")
    assert counted(reduced, side) == keeprate.macs(reduced)


def test_a_model_of_seven_billion_weights_by_hand() -> None:
    """40 blocks of 4096 channels; 128 x 128 patches, 5 prefix tokens; a gated MLP of 8192."""
    costs = costs_of(shapes_of("vit_7b_patch16_dinov3", 2048))
    tokens = 128 * 128 + 5
    assert costs.projections == 40 * tokens * 4 * 4096**2
    assert costs.attention == 40 * 2 * tokens**2 * 4096
    assert costs.mlp == 40 * tokens * 3 * 4096 * 8192


@pytest.mark.parametrize(("r", "macs"), [(8, 3.42), (13, 2.70), (16, 2.29)])
def test_tome_on_deit_s(r: int, macs: float) -> None:
    costs = keeprate.reduce(shapes_of(DEIT_S), "tome", f"r={r}").costs()
    assert round(costs.model / 1e9, 2) == macs


@pytest.mark.parametrize(("rate", "macs"), [(0.9, 3.960), (0.7, 2.980), (0.5, 2.278)])
def test_top_k_on_deit_s(rate: float, macs: float) -> None:
    costs = keeprate.reduce(shapes_of(DEIT_S), "class-attention", f"keep={rate}@3,6,9").costs()
    assert round(costs.model / 1e9, 3) == macs


def test_one_stage_by_hand() -> None:
    """After attention, the MLP of the same block is spared; after the block, only later blocks."""
    between = keeprate.reduce(shapes_of(DEIT_S), "random", "100@4").costs()
    behind = keeprate.reduce(shapes_of(DEIT_S), "zero-tprune", "100@4").costs()
    projections, mlp = 4 * 384 * 384, 8 * 384 * 384
    for costs, full_mlps in ((between, 4), (behind, 5)):
        assert costs.projections == projections * (5 * 197 + 7 * 101)
        assert costs.attention == 2 * 384 * (5 * 197**2 + 7 * 101**2)
        assert costs.mlp == mlp * (full_mlps * 197 + (12 - full_mlps) * 101)


def test_an_empty_last_mlp_saves_what_the_design_says() -> None:
    model = shapes_of("deit_tiny_patch16_224")
    plain = keeprate.reduce(model, "full").costs().total
    emptied = keeprate.reduce(model, "full", empty_last_mlp=True)
    assert plain - emptied.costs().total == 57_802_752
    assert round(57_802_752 / plain, 3) == 0.046
    assert counted(emptied) == emptied.costs().total


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("method", "schedule", "parameters"),
    [
        ("random", "keep=0.7", {}),
        ("class-attention", "keep=0.7", {}),
        ("zero-tprune", "keep=0.7", {}),
        ("zero-tprune", "keep=0.7", {"pattern": "I"}),
        ("zero-tprune", "keep=0.7", {"pattern": "S"}),
        ("zero-tprune", "keep=0.7", {"pattern": "I-S"}),
        ("zero-tprune", "keep=0.2@3,7", {"pattern": "I-S"}),
        ("zero-tprune", "keep=0.7", {"pattern": "S-I"}),
        ("zero-tprune", "keep=0.7", {"pattern": "I'-S"}),
        ("zero-tprune", "keep=0.7", {"partition": "none"}),
        ("zero-tprune", "keep=0.7", {"partition": "alternate", "renormalise": False}),
        ("zero-tprune", "keep=0.7", {"feature": "x"}),
        ("zero-tprune", "keep=0.7", {"feature": "x", "pattern": "S"}),
        ("zero-tprune", "keep=0.7", {"feature": "x", "pattern": "I"}),
        ("zero-tprune", "keep=0.7", {"feature": "x_pre", "similarity": "dot"}),
        ("zero-tprune", "keep=0.7", {"feature_heads": "mean", "emphasis": "none"}),
        ("zero-tprune", "keep=0.7", {"s_removal": 0.0}),
        ("zero-tprune", "keep=0.7", {"iterations": (50, 10, 2)}),
        ("zero-tprune", "keep=0.7", {"on_drop": "mass"}),
        ("zero-tprune", "paper-deit-s", {}),
    ],
)
def test_declared_overhead_equals_the_products_torch_counts(
    method: str, schedule: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(shapes_of(DEIT_S), method, schedule, **parameters)
    costs = reduced.costs()
    assert counted(reduced) == costs.model + costs.overhead
    assert reduced.macs_per_image.overhead.tolist() == [costs.overhead]


@pytest.mark.parametrize(
    ("method", "parameters"), [("tome", {}), ("zero-tprune", {"on_drop": "merge"})]
)
def test_weighted_sums_of_merged_tokens_are_declared_beside_the_products(
    method: str, parameters: dict[str, object]
) -> None:
    reduced = keeprate.reduce(shapes_of(DEIT_S), method, "keep=0.7@2,5", **parameters)
    costs = reduced.costs()
    merged = 196 - reduced.stages()[-1].keep
    assert counted(reduced) == costs.model + costs.overhead - merged * 384


def test_overhead_by_hand() -> None:
    shape = Shape(patches=20, prefix=1, heads=3, head_dim=8, channels=24)
    stage = Stage(block=5, keep=10, depth=12)
    step = 3 * 21 * 21
    assert AttentionScore().overhead_macs(shape, stage) == step
    similarities = 10 * 10 * 24
    assert ZeroTPrune().overhead_macs(shape, stage) == step + similarities + (1 + 5) * step
    bound = ZeroTPrune(pattern="I", tolerance=1e-3).overhead_macs(shape, stage)
    assert bound == MOST_ITERATIONS * step


def test_a_method_that_reads_nothing_costs_nothing() -> None:
    reduced = keeprate.reduce(shapes_of(DEIT_S), "random", "keep=0.5")
    assert reduced.costs().overhead == 0


def test_stages_that_remove_nothing_cost_nothing() -> None:
    reduced = keeprate.reduce(shapes_of(DEIT_S), "zero-tprune", "keep=1@3,6")
    assert reduced.costs().total == 4_598_882_304
    assert counted(reduced) == 4_598_882_304


@pytest.mark.slow
def test_other_image_sizes_cost_by_their_own_patches() -> None:
    with torch.device("meta"):
        model = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True).eval()
    for side in (112, 320):
        assert keeprate.macs(model, side) == counted(model, side)
        reduced = keeprate.reduce(model, "random", "keep=0.6@3,6,9")
        assert isinstance(reduced, ReducedModel)
        assert keeprate.macs(reduced, side) == counted(reduced, side)
        assert keeprate.macs(reduced, (side, side)) == keeprate.macs(reduced, side)
