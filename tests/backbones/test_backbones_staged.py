"""PiT and VOLO, whose tokens are reduced in the last stage: exactly, and priced to the digit."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.pit import PoolingVisionTransformer
from timm.models.volo import VOLO
from torch import nn

import keeprate
from battery import (
    INSIDE,
    assert_equals_oracle,
    assert_half_precision,
    assert_identical,
    assert_macs,
    randomised,
)
from keeprate import KeeprateError, Needs, Place, Stage, Tokens
from keeprate.attention import Attention
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof
from references.uneven import Uneven, assert_as_if_each_ran_alone

pytestmark = pytest.mark.sample(2)

PIT = {
    "img_size": 48,
    "patch_size": 4,
    "stride": 2,
    "base_dims": (16, 16, 16),
    "depth": (1, 2, 4),
    "heads": (1, 2, 4),
    "num_classes": 7,
}
VOLO_SIZE = {
    "img_size": 64,
    "patch_size": 4,
    "layers": [2, 3, 1],
    "embed_dims": [16, 32, 32],
    "num_heads": [2, 4, 4],
    "downsamples": (True, False, False),
    "outlook_attention": (True, False, False),
    "stem_hidden_dim": 8,
    "num_classes": 7,
}


def pit(name: str = "pit_ti_224", **options: object) -> nn.Module:
    return timm.create_model(name, **{**PIT, **options}).eval()


def volo(**options: object) -> nn.Module:
    return VOLO(**{**VOLO_SIZE, **options}).eval()


MODELS: dict[str, Callable[[], nn.Module]] = {
    "pit": pit,
    "pit, distilled": lambda: pit("pit_ti_distilled_224"),
    "pit, oblong": lambda: pit(img_size=(40, 56)),
    "pit of one stage": lambda: pit(depth=(4,), heads=(3,), base_dims=(16,), stride=8),
    "volo": volo,
    "volo, oblong": lambda: volo(img_size=(48, 72)),
    "volo without a second head": lambda: volo(use_aux_head=False),
    "volo, biased, one class attention": lambda: volo(qkv_bias=True, post_layers=("ca",)),
    "volo with mixed tokens in training": lambda: volo(use_mix_token=True),
}


@pytest.fixture(params=MODELS, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(MODELS[request.param]())


@pytest.mark.parametrize("place", Place)
def test_keeping_every_token_is_bit_identical_to_timm(model: nn.Module, place: Place) -> None:
    assert_identical(model, place)


@pytest.mark.parametrize("needs", [Needs.KEYS, Needs.WEIGHTS], ids=lambda n: n.name)
@pytest.mark.parametrize("place", Place)
def test_a_pruned_run_equals_the_masked_model(model: nn.Module, place: Place, needs: Needs) -> None:
    assert_equals_oracle(model, place, needs)


@pytest.mark.parametrize("place", INSIDE)
def test_macs_equal_the_flop_counter(model: nn.Module, place: Place) -> None:
    assert_macs(model, place)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("make", [pit, volo])
def test_half_precision_is_finite(make: Callable[[], nn.Module], dtype: torch.dtype) -> None:
    assert_half_precision(randomised(make()), dtype)


@pytest.mark.parametrize("method", ["tome", "zero-tprune"])
@pytest.mark.parametrize("batch", [1, 3])
def test_methods_run(model: nn.Module, method: str, batch: int) -> None:
    reduced = keeprate.reduce(model, method, "r=2")
    backbone = adapt(model)
    images = backbone.example(batch)
    with torch.inference_mode():
        logits = reduced(images)
        assert logits.shape == (batch, 7)
        assert bool(logits.isfinite().all())
        assert not torch.equal(logits, model(images))
    start = backbone.num_patches(backbone.image_size) + backbone.num_prefix
    assert reduced.token_counts.tolist() == [[start - 2 * i for i in (1, 2, 3, 4)]] * batch


@pytest.mark.parametrize("place", Place)
def test_padding_takes_no_part(model: nn.Module, place: Place) -> None:
    model = copy.deepcopy(model).double()
    images = adapt(model).example(4)
    assert_as_if_each_ran_alone(model, images, place)


@pytest.mark.parametrize("make", [pit, volo])
def test_switched_off_fused_attention_is_read_all_the_same(make: Callable[[], nn.Module]) -> None:
    model = randomised(make())
    images = adapt(model).example(2)
    method = proof.Probe(Place.AFTER_ATTENTION, Needs.WEIGHTS)
    with torch.inference_mode():
        expected = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
        for module in model.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False
        ours = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


class Double(Uneven):
    """Merges every second patch token into the one before it."""

    name = "double"
    keeps_per_image = False
    proportional_attention = True

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        into = torch.arange(tokens.num_prefix, tokens.count, 2).expand(len(tokens.x), -1)
        return tokens.merge(into + 1, into)


def test_class_attention_counts_a_merged_token_as_often_as_its_patches() -> None:
    """Merging after the last block, where twins are exactly alike, changes nothing."""
    model = randomised(volo()).double()
    backbone = adapt(model)
    images = backbone.example(2)
    last = backbone.depth - 1

    def twins(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        return output.flatten(1, 2)[:, ::2].repeat_interleave(2, dim=1).view_as(output)

    reduced = keeprate.reduce(model, Double(), f"32@{last}")
    block = reduced.backbone.blocks[last]
    feed_forward = reduced.backbone.feed_forward

    def doubled(number: int, x: torch.Tensor) -> torch.Tensor:
        x = feed_forward(number, x)
        return twins(block, None, x[:, :, None]).flatten(1, 2) if number == last else x

    reduced.backbone.feed_forward = doubled
    handle = adapt(model).blocks[last].register_forward_hook(twins)
    with torch.inference_mode():
        expected = model(images)
        handle.remove()
        assert not torch.allclose(model(images), expected)
        torch.testing.assert_close(reduced(images), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "patches", "depth"),
    [("pit_s_distilled_224", 7 * 7, 4), ("pit_b_224", 8 * 8, 4), ("volo_d1_224", 14 * 14, 14)],
)
def test_full_size_models_are_priced_to_the_digit(name: str, patches: int, depth: int) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    backbone = adapt(model)
    assert backbone.num_patches((224, 224)) == patches
    assert (backbone.depth, backbone.image_size) == (depth, (224, 224))
    inputs = backbone.example(1)
    assert keeprate.macs(model) == proof.counted_macs(backbone, backbone.plain, inputs)


def test_outlookers_pad_a_grid_of_odd_size() -> None:
    backbone = adapt(volo(img_size=(36, 60)).double())
    images = torch.randn(2, 3, 36, 60, dtype=torch.float64)
    assert proof.identity_error(backbone, images) == 0
    counted = proof.counted_macs(backbone, backbone.plain, images[:1])
    assert keeprate.macs(backbone.model, (36, 60)) == counted


def test_the_distilled_pit_averages_two_heads_that_read_prefix_tokens() -> None:
    backbone = adapt(pit("pit_ti_distilled_224"))
    assert (backbone.num_prefix, backbone.has_class_token) == (2, True)
    reduced = keeprate.reduce(backbone.model, "class-attention", "r=2", empty_last_mlp=True)
    reduced(backbone.example(1))
    assert reduced.token_counts.tolist() == [[36, 34, 32, 2]]


def test_volo_has_no_class_token_in_its_blocks() -> None:
    with pytest.raises(KeeprateError, match="needs a class token, and this VOLO has none"):
        keeprate.reduce(volo(), "class-attention", "r=2")


def changed(model: nn.Module, path: str, value: nn.Module) -> nn.Module:
    model.set_submodule(path, value)
    return model


def hooked(model: nn.Module, path: str) -> nn.Module:
    model.get_submodule(path).register_forward_hook(lambda module, inputs, output: output)
    return model


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: type("MyPiT", (PoolingVisionTransformer,), {})(), "a subclass of PoolingVision"),
        (lambda: pit(global_pool=""), "pooling '' is not supported"),
        (
            lambda: changed(pit(), "transformers.0.blocks.0.mlp", nn.Identity()),
            "in stage 0, the MLP of block 0 is a Identity",
        ),
        (
            lambda: changed(pit(), "transformers.1.pool", nn.Identity()),
            "the pooling before stage 1 is a Identity, not Pooling",
        ),
        (lambda: hooked(pit(), "transformers.2.blocks.1"), "forward hooks on it or its blocks"),
        (lambda: hooked(pit(), "transformers.2"), "forward hooks on it or its blocks"),
        (lambda: type("MyVOLO", (VOLO,), {})(**VOLO_SIZE), "a subclass of VOLO may compute"),
        (lambda: volo(global_pool="avg"), "a head that does not read a class token"),
        (lambda: volo(post_layers=None, use_aux_head=False), "a head that does not read a class"),
        (lambda: volo(downsamples=(False,) * 3), "stage 1 is a Sequential, not Downsample"),
        (lambda: volo(num_heads=[2, 4, 2]), "Transformer blocks of different heads, or none"),
        (
            lambda: volo(outlook_attention=(True, False, True)),
            "block 3 is a Outlooker, not Transformer",
        ),
        (
            lambda: changed(volo(), "network.2.1.attn", nn.Identity()),
            "the attention of block 1 is a Identity, not Attention",
        ),
        (lambda: hooked(volo(), "post_network.0"), "forward hooks on it or its blocks"),
    ],
)
def test_what_is_not_known_is_refused_by_reason(build: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(KeeprateError, match=why):
        adapt(build())
