"""docs/large_models.md says what benchmarks/large_models.py computes, and that computes right."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from timm.models import VisionTransformer
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import keeprate
from keeprate import Stage
from keeprate.attention import explicit_weights
from keeprate.backbones.lookup import adapt
from keeprate_methods.page_rank import page_rank
from paths import DOCS, ROOT

PAGE = (DOCS / "large_models.md").read_text(encoding="utf-8")
STAGE = Stage(block=1, keep=30, depth=4)


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import large_models

        yield large_models


def small() -> VisionTransformer:
    """64 patches and a class token, 3 heads of 4 channels."""
    return VisionTransformer(img_size=32, patch_size=4, embed_dim=12, depth=4, num_heads=3).eval()


def layer_on(device: str, dtype: torch.dtype = torch.float32) -> Any:
    from stage_memory import Layer

    return Layer.of(adapt(small()), 64, dtype, device)


@pytest.mark.sample(1)
@pytest.mark.parametrize(("label", "grid"), [("ViT-L/16", 32), ("7 B", 128), ("ViT-g/14", 64)])
def test_the_page_has_the_rows_that_are_computed(script: ModuleType, label: str, grid: int) -> None:
    for row in script.TABLES.values():
        assert script.line(row(label, grid)) in PAGE.splitlines()


def test_the_page_has_a_row_for_every_model_and_size_in_every_table(script: ModuleType) -> None:
    for label in script.MODELS:
        for grid in script.GRIDS:
            assert PAGE.count(f"\n| {label} | {grid * grid:,} |") == len(script.TABLES)


def test_what_is_not_page_rank_is_matching_of_the_two_halves(script: ModuleType) -> None:
    runner = script.reduced("ViT-L/16", 32, "zero-tprune")
    entering = [1024, *(stage.keep for stage in runner.stages()[:-1])]
    matching = sum((n // 2) * (n - n // 2) * 1024 for n in entering)
    assert script.page_rank_macs("ViT-L/16", 32) == runner.costs().overhead - matching


def test_a_reduction_lighter_than_the_least_that_pays_costs_more_than_none(
    script: ModuleType,
) -> None:
    model = script.backbone_of("ViT-L/16", 128).model
    unpruned, least = keeprate.macs(model), script.least_saving("ViT-L/16", 128, "zero-tprune")
    for rate, pays in (("keep=0.995", False), ("keep=0.99", True)):
        costs = keeprate.reduce(model, "zero-tprune", rate).costs()
        assert (costs.total < unpruned) is pays
        assert (1 - costs.model / unpruned > least) is pays


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", ["zero-tprune", "tome", "attention-score", "class-attention"])
def test_bytes_on_the_meta_device_are_those_really_allocated(
    script: ModuleType, method: str, dtype: torch.dtype
) -> None:
    there = script.stage_bytes(layer_on("meta", dtype), method, STAGE)
    here = script.stage_bytes(layer_on("cpu", dtype), method, STAGE)
    assert there.largest == here.largest
    # a processor adds up merged tokens by rows, whose places are numbers of 8 bytes, twice
    assert 0 <= here.most - there.most <= (16 * 65 if method == "tome" else 0)
    assert here.alive < here.most


@pytest.mark.parametrize(
    ("method", "elements"),
    [("zero-tprune", 3 * 65 * 65), ("attention-score", 3 * 65 * 65), ("tome", 33 * 32)],
)
def test_the_largest_tensor_of_a_stage_is_its_matrix(
    script: ModuleType, method: str, elements: int
) -> None:
    live = script.stage_bytes(layer_on("cpu"), method, STAGE)
    assert live.largest == 4 * elements
    if method != "tome":
        assert live.most >= 2 * live.largest  # logits beside their softmax


def test_a_real_pass_makes_the_same_largest_tensor(script: ModuleType) -> None:
    from stage_memory import LiveBytes

    model = keeprate.reduce(small(), "zero-tprune", "30@1")
    images = torch.rand(1, 3, 32, 32)
    with LiveBytes(images, *model.parameters()) as live, torch.inference_mode():
        model(images)
    assert live.largest == 4 * 3 * 65 * 65


@pytest.mark.parametrize("rows", [16, 65])
def test_the_streamed_page_rank_is_the_page_rank(script: ModuleType, rows: int) -> None:
    layer = layer_on("cpu")
    weights = explicit_weights(layer.q, layer.k, 0.5, None)
    signal: list[Tensor] = []
    live = layer.live_bytes(lambda: signal.append(script.streamed_page_rank(layer, 5, rows)))
    assert torch.allclose(signal[0], page_rank(weights, iterations=5), atol=1e-6)
    assert live.largest == 4 * 3 * rows * 65


def test_a_streamed_step_costs_a_channel_of_each_head_more(script: ModuleType) -> None:
    with FlopCounterMode(display=False) as counter:
        script.streamed_page_rank(layer_on("meta"), 1, 16)
    assert counter.get_total_flops() // 2 == 3 * 65 * 65 * (1 + 4)


def test_the_streamed_matching_is_the_matching(script: ModuleType) -> None:
    layer = layer_on("cpu")
    keys = layer.k.transpose(1, 2).flatten(2)
    whole = (keys[:, 33:] @ keys[:, :33].transpose(1, 2)).amax(dim=2)
    assert torch.allclose(script.streamed_matching(layer, 10), whole)
