"""transformers' image classifiers: keeping all is their forward, dropping some the masked model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import keeprate
from battery import Battery, assert_equals_oracle, assert_identical, randomised
from keeprate import KeeprateError, Needs, Place, Tokens
from keeprate.backbones.huggingface.dinov3 import HFDinov3
from keeprate.backbones.huggingface.vision import HFBeit, HFDinov2, HFSiglip, HFViT
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof

pytestmark = pytest.mark.sample(2)

transformers: Any = pytest.importorskip("transformers")

FAMILIES = {
    name: build
    for family in (HFViT, HFDinov2, HFDinov3, HFBeit, HFSiglip)
    for name, build in family.examples().items()
}
FIXED = ["ViT", "DeiT with a teacher", "SigLIP"]
READ = Place.AFTER_ATTENTION, Needs.KEYS
AVERAGED = ["DINOv2", "DINOv2 with registers", "BEiT", "SigLIP"]


@pytest.fixture(params=FAMILIES, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(FAMILIES[request.param]())


class TestFamily(Battery):
    """Every model above passes the battery."""


@pytest.mark.parametrize("size", [(48, 48), (24, 40)], ids=str)
@pytest.mark.parametrize("family", [name for name in FAMILIES if name[:2] in ("DI", "BE")])
def test_images_of_other_sizes_run_where_the_model_takes_them(
    family: str, size: tuple[int, int]
) -> None:
    model = randomised(FAMILIES[family]()).double()
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)).double()
    backbone = adapt(model)
    assert proof.identity_error(backbone, images) == 0
    place, needs = Place.AFTER_ATTENTION, Needs.WEIGHTS
    assert proof.oracle_error(backbone, images, "keep=0.6@0,2", place, needs) < 1e-9
    reduced = proof.probed(backbone, "keep=0.6@0,2")
    counted = proof.counted_macs(backbone, reduced, images[:1])
    assert reduced.costs(size).model == counted


@pytest.mark.parametrize("family", FIXED)
def test_images_of_other_sizes_are_refused_where_the_model_refuses_them(family: str) -> None:
    model = FAMILIES[family]()
    images = torch.randn(1, 3, 48, 32)
    with pytest.raises((ValueError, RuntimeError)):
        model(images)
    with pytest.raises(KeeprateError, match="takes images of 32 x 32 pixels, not 48 x 32"):
        keeprate.reduce(model, "random", "r=1")(images)


@pytest.mark.parametrize("family", AVERAGED)
def test_a_merged_token_weighs_as_many_patches_as_it_stands_for(family: str) -> None:
    backbone = adapt(randomised(FAMILIES[family]()).double())
    prefix = backbone.num_prefix
    x = torch.randn(2, prefix + 3, 48, dtype=torch.float64)
    three_times = torch.cat([x, x[:, -1:], x[:, -1:]], dim=1)
    merged = Tokens.of(three_times, num_prefix=prefix).merge(
        torch.tensor([[prefix + 3, prefix + 4]] * 2), torch.tensor([[prefix + 2] * 2] * 2)
    )
    with torch.inference_mode():
        ours = backbone.classify(merged, None)
        expected = backbone.classify(Tokens.of(three_times, num_prefix=prefix), None)
    assert merged.count == prefix + 3
    torch.testing.assert_close(ours, expected)


def test_images_may_go_by_their_name_and_nothing_else() -> None:
    model = FAMILIES["ViT"]()
    reduced = keeprate.reduce(model, "random", "r=1")
    images = adapt(model).example(2)
    with torch.inference_mode():
        expected = reduced(images)
        assert torch.equal(reduced(pixel_values=images), expected)
        assert torch.equal(reduced({"pixel_values": images, "labels": None}), expected)
    with pytest.raises(KeeprateError, match="pixel_values alone, not attention_mask, pixel_values"):
        reduced(pixel_values=images, attention_mask=torch.ones(2, 17))


@pytest.mark.parametrize("family", ["ViT", "BEiT", "SigLIP"])
def test_eager_attention_is_read_all_the_same_and_stays_eager(family: str) -> None:
    model = randomised(FAMILIES[family]())
    method, images = proof.Probe(*READ), adapt(model).example(2)
    with torch.inference_mode():
        expected = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
        model.set_attn_implementation("eager")
        reduced = keeprate.reduce(model, method, "keep=0.6@0,2")
        torch.testing.assert_close(reduced(images), expected, rtol=1e-4, atol=1e-5)
    configs = [module.config for module in reduced.modules() if hasattr(module, "config")]
    assert {config._attn_implementation for config in configs} == {"eager"}
    error = proof.oracle_error(adapt(model), images, "keep=0.6@0,2", *READ)
    assert error < 1e-5


def test_a_model_that_once_returned_hidden_states_is_still_taken() -> None:
    model = randomised(FAMILIES["ViT"]())
    images = adapt(model).example(2)
    with torch.inference_mode():
        model(images, output_hidden_states=True)
    assert_identical(model)
    assert_equals_oracle(model, Place.AFTER_BLOCK, Needs.KEYS)


def changed(family: str, change: Callable[[Any], object]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = FAMILIES[family]()
        change(model)
        return model

    return build


def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
    return 2 * output


REFUSED = {
    "no classifier": (
        lambda: transformers.ViTModel(FAMILIES["ViT"]().config),
        r"ViTModel: it belongs to none of the known families \(.*hf-vit",
    ),
    "subclass": (
        lambda: type("Mine", (transformers.ViTForImageClassification,), {})(
            FAMILIES["ViT"]().config
        ),
        "hf-vit: a subclass of ViTForImageClassification may compute otherwise",
    ),
    "another attention": (
        changed("ViT", lambda m: setattr(m.vit.layers[1], "attention", nn.Identity())),
        "'attention' of block 1 is a Identity, not ViTAttention",
    ),
    "another norm": (
        changed("DINOv2", lambda m: setattr(m.dinov2, "layernorm", nn.RMSNorm(48))),
        "'layernorm' of its 'dinov2' is a RMSNorm, not LayerNorm",
    ),
    "another block": (
        changed("SigLIP", lambda m: m.vision_model.encoder.layers.append(nn.Identity())),
        "block 4 is a Identity, not SiglipEncoderLayer",
    ),
    "one part more": (
        changed("BEiT", lambda m: m.beit.layers[0].add_module("adapter", nn.Identity())),
        "block 0 has 'adapter': another version of transformers builds it otherwise",
    ),
    "one part less": (
        changed("ViT", lambda m: delattr(m.vit.layers[0], "dropout")),
        "block 0 has no 'dropout'",
    ),
    "hook": (
        changed("DINOv2", lambda m: m.dinov2.encoder.register_forward_hook(hook)),
        "forward hooks on it or its blocks",
    ),
    "replaced forward": (
        changed("ViT", lambda m: setattr(m.vit.layers[0], "forward", lambda x, *_, **__: x)),
        "or a replaced forward, would be left out",
    ),
    "flash attention": (
        changed("ViT", lambda m: setattr(m.config, "_attn_implementation", "flash_attention_2")),
        "attention implementation 'flash_attention_2' cannot be read; load the model with",
    ),
    "causal": (
        changed("ViT", lambda m: setattr(m.config, "is_causal", True)),
        "causal attention",
    ),
    "quantised": (
        changed("ViT", lambda m: setattr(m, "is_quantized", True)),
        "quantised weights are not supported",
    ),
    "grey images": (
        lambda: transformers.ViTForImageClassification(
            transformers.ViTConfig(hidden_size=48, num_attention_heads=3, num_channels=1)
        ),
        "it takes 1 channels; images here have three",
    ),
}


@pytest.mark.parametrize(("build", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_anything_else_is_refused_by_class_and_reason(
    build: Callable[[], nn.Module], why: str
) -> None:
    with pytest.raises(KeeprateError, match=why):
        keeprate.reduce(build(), "random", "r=1")
