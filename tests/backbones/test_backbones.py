"""Every supported family: keeping all is timm's forward, dropping some is the masked model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from timm.layers.attention_pool import AttentionPoolLatent, AttentionPoolPrr
from timm.layers.patch_embed import PatchEmbedWithSize
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import keeprate
from battery import SMALL, Battery, randomised
from keeprate import KeeprateError, Needs, Place
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof

pytestmark = pytest.mark.sample(2)


def made(name: str, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, **options).eval()


FAMILIES = {
    "vit": made("vit_tiny_patch16_224", **SMALL),
    "deit": made("deit_tiny_patch16_224", **SMALL),
    "deit distilled": made("deit_tiny_distilled_patch16_224", **SMALL),
    "deit3 (layer scale, class token without position)": made("deit3_small_patch16_224", **SMALL),
    "dinov2 with registers": made("vit_small_patch14_reg4_dinov2", **SMALL),
    "dinov2 giant (gated MLP)": made("vit_giant_patch14_reg4_dinov2", **SMALL),
    "pre-norm (CLIP)": made("vit_base_patch16_clip_224", **SMALL),
    "average pooling": made("vit_base_patch16_siglip_gap_224", **SMALL),
    "average pooling with registers": made("vit_base_patch16_reg4_gap_256", **SMALL),
    "class token, average pooling": made("beit3_base_patch16_224", **SMALL),
    "attention pooling": made("vit_base_patch16_siglip_224", **SMALL),
    "attention pooling over prefix tokens too": made("test_vit3"),
    "attention pooling with registers": made("vit_so150m_patch16_reg4_map_256", **SMALL),
    "residual post-norm": made("vit_base_patch16_rpn_224", **SMALL),
    "gated MLP, RMSNorm (AIMv2)": made("aimv2_large_patch14_224", **SMALL),
    "qk-norm": made("test_vit4"),
    "no norm at the end (InternViT)": made("vit_intern300m_patch14_448", **SMALL),
    "no positions": made("vit_tiny_patch16_224", pos_embed="none", **SMALL),
    "max pooling": made("vit_tiny_patch16_224", global_pool="max", **SMALL),
    "dynamic image size": made("vit_tiny_patch16_224", dynamic_img_size=True, **SMALL),
}
FULL_SIZE = [
    "vit_tiny_patch16_224",
    "deit_small_patch16_224",
    "deit_small_distilled_patch16_224",
    "deit3_small_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "vit_base_patch16_siglip_224",
    "vit_base_patch16_siglip_gap_224",
    "vit_small_patch16_18x2_224",
    "vit_dwee_patch16_reg1_gap_256",
    "vit_dpwee_patch16_reg1_gap_256",
    "vit_small_r26_s32_224",
    "vitamin_small_224",
    "naflexvit_base_patch16_parfac_gap",
]


def with_part(name: str, part: nn.Module) -> nn.Module:
    model = VisionTransformer(**SMALL, global_pool="map")
    setattr(model, name, part)
    return model


@pytest.fixture(params=FAMILIES, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(FAMILIES[request.param]())


class TestFamily(Battery):
    """Every model above passes the battery."""


@pytest.mark.parametrize(
    ("name", "size", "patches"),
    [
        ("vit_tiny_patch16_224", (20, 44), 5 * 11),
        ("deit3_small_patch16_224", (36, 28), 9 * 7),
        ("deit_tiny_distilled_patch16_224", (18, 31), 5 * 8),
        ("vit_small_patch14_reg4_dinov2", (41, 22), 11 * 6),
    ],
)
def test_oblong_images_of_another_size(name: str, size: tuple[int, int], patches: int) -> None:
    options = {"dynamic_img_size": True, "dynamic_img_pad": size[0] % 4 > 0}
    model = randomised(made(name, **SMALL, **options)()).double()
    backbone = adapt(model)
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    assert backbone.num_patches(size) == patches
    assert proof.identity_error(backbone, images) == 0.0
    for place in Place:
        assert proof.oracle_error(backbone, images, "keep=0.6@0,2", place, Needs.KEYS) < 1e-9
    reduced = proof.probed(backbone, "keep=0.6@0,2")
    assert reduced.costs(size).model == proof.counted_macs(backbone, reduced, images)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_SIZE)
def test_full_size_models_are_identical_and_match_the_oracle(name: str) -> None:
    torch.manual_seed(0)
    backbone = adapt(timm.create_model(name).eval())
    images = backbone.example(2)
    assert proof.identity_error(backbone, images) == 0.0
    error = proof.oracle_error(backbone, images, "keep=0.7@2,5,8", Place.AFTER_BLOCK, Needs.WEIGHTS)
    assert error < 1e-5


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (
            lambda: nn.Conv2d(3, 8, 1),
            r"Conv2d: it belongs to none of the known families \(timm-vit",
        ),
        (
            lambda: VisionTransformer(**SMALL, patch_drop_rate=0.1),
            r"patch dropout \(patch_drop_rate > 0\) is not supported",
        ),
        (
            lambda: VisionTransformer(**SMALL, global_pool="avgmax"),
            "pooling 'avgmax' is not supported",
        ),
        (lambda: VisionTransformer(**SMALL, global_pool="prr"), "pooling 'prr' is not supported"),
        (
            lambda: with_part("attn_pool", AttentionPoolPrr(48)),
            "attention pooling AttentionPoolPrr is not",
        ),
        (
            lambda: with_part("attn_pool", AttentionPoolLatent(48, feat_size=64, pos_embed="abs")),
            "attention pooling with a position embedding is not supported",
        ),
        (
            lambda: with_part("patch_embed", PatchEmbedWithSize()),
            "the patch embedding is a PatchEmbedWithSize, not PatchEmbed",
        ),
        (
            lambda: type("MyViT", (VisionTransformer,), {})(**SMALL),
            "a subclass of VisionTransformer",
        ),
    ],
    ids=[
        "another family",
        "patch dropout",
        "maximum and average",
        "refined patches",
        "another attention pooling",
        "attention pooling with positions",
        "another patch embedding",
        "subclass",
    ],
)
def test_anything_else_is_refused_by_class_and_reason(
    build: Callable[[], nn.Module], why: str
) -> None:
    with pytest.raises(KeeprateError, match=why):
        keeprate.reduce(build(), "random", "r=1")


def test_a_model_that_does_more_than_its_class_is_refused() -> None:
    block, row, forward, features = (FAMILIES["vit"]() for _ in range(4))
    block.blocks[2].register_forward_hook(lambda module, inputs, output: 2 * output)
    row.blocks.register_forward_hook(lambda module, inputs, output: 2 * output)
    forward.forward = lambda images: images.mean(dim=(2, 3))
    features.forward_features = lambda images: images.flatten(2)
    for model in (block, row, forward, features):
        with pytest.raises(KeeprateError, match="forward hooks on it or its blocks"):
            keeprate.reduce(model, "random", "r=1")


@pytest.mark.parametrize("family", ["vit", "attention pooling", "residual post-norm"])
@pytest.mark.parametrize("place", Place)
def test_switched_off_fused_attention_is_read_all_the_same(family: str, place: Place) -> None:
    model = randomised(FAMILIES[family]())
    method = proof.Probe(place, Needs.WEIGHTS)
    images = adapt(model).example(2)
    with torch.inference_mode():
        expected = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
        for module in model.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False
        ours = keeprate.reduce(model, method, "keep=0.6@0,2")(images)
        merged = keeprate.reduce(model, "tome", "r=5")(images)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert bool(merged.isfinite().all())
    assert not any(getattr(module, "fused_attn", False) for module in model.modules())
