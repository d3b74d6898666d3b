"""timm's NaFlexVit on images: any grid, learned or factorised positions, and every pooling."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.naflexvit import NaFlexVit
from torch import nn

import keeprate
from battery import Battery, assert_identical, randomised
from keeprate import KeeprateError, Needs, Place
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof
from references.uneven import assert_as_if_each_ran_alone

pytestmark = pytest.mark.sample(2)

SMALL = {
    "patch_size": 4,
    "embed_dim": 48,
    "depth": 4,
    "num_heads": 3,
    "num_classes": 7,
    "pos_embed_grid_size": (7, 9),
}


def made(name: str, **options: object) -> Callable[[], nn.Module]:
    size = {"input_size": (3, 32, 32)}
    return lambda: timm.create_model(name, pretrained_cfg_overlay=size, **SMALL, **options).eval()


FAMILIES = {
    "average pooling, registers": made("naflexvit_base_patch16_gap"),
    "aspect ratio kept": made("naflexvit_base_patch16_par_gap"),
    "factorised positions": made("naflexvit_base_patch16_parfac_gap"),
    "attention pooling, register": made("naflexvit_base_patch16_map"),
    "attention pooling, prefix too": made("naflexvit_base_patch16_map", pool_include_prefix=True),
    "SigLIP 2": made("naflexvit_base_patch16_siglip"),
    "C-RADIO (class token, registers)": made("naflexvit_base_patch16_radio_v3"),
    "patches by convolution, pre-norm": made(
        "naflexvit_base_patch16_siglip", embed_proj_type="conv", pre_norm=True
    ),
    "norms everywhere": made(
        "naflexvit_base_patch16_gap",
        qk_norm=True,
        scale_mlp_norm=True,
        scale_attn_inner_norm=True,
        embed_norm_layer="layernorm",
        pos_embed="none",
    ),
    "differential": made("naflexvit_base_patch16_gap", attn_layer="diff"),
    "maximum": made("naflexvit_base_patch16_gap", global_pool="max"),
}


@pytest.fixture(params=FAMILIES, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(FAMILIES[request.param]())


class TestFamily(Battery):
    """Every model above passes the battery."""


@pytest.mark.parametrize("place", Place)
def test_images_that_keep_different_numbers_do_not_mix(model: nn.Module, place: Place) -> None:
    model = copy.deepcopy(model).double()
    assert_as_if_each_ran_alone(model, adapt(model).example(3), place)


@pytest.mark.parametrize("family", ["aspect ratio kept", "factorised positions", "SigLIP 2"])
def test_oblong_images_of_another_size(family: str) -> None:
    model = randomised(FAMILIES[family]()).double()
    backbone = adapt(model)
    images = torch.randn(1, 3, 20, 44, dtype=torch.float64)
    assert proof.identity_error(backbone, images) == 0.0
    for place in Place:
        assert proof.oracle_error(backbone, images, "keep=0.6@0,2", place, Needs.KEYS) < 1e-9
    reduced = proof.probed(backbone, "keep=0.6@0,2")
    assert reduced.costs((20, 44)).model == proof.counted_macs(backbone, reduced, images)


def test_images_are_padded_to_whole_patches_where_the_model_pads() -> None:
    model = randomised(made("naflexvit_base_patch16_gap", dynamic_img_pad=True)())
    images = torch.randn(1, 3, 18, 31)
    assert adapt(model).num_patches((18, 31)) == 5 * 8
    assert proof.identity_error(adapt(model), images) == 0.0
    cut = FAMILIES["average pooling, registers"]()
    with pytest.raises(KeeprateError, match="Images of 18 x 31 pixels cannot be cut into patches"):
        keeprate.macs(cut, (18, 31))


def test_the_image_size_is_the_one_asked_for_or_trained_on() -> None:
    named = "naflexvit_base_patch16_gap"
    without_grid = {"pos_embed_grid_size": None}
    assert adapt(timm.create_model(named, depth=1)).image_size == (384, 384)
    assert adapt(timm.create_model(named, depth=1, img_size=64)).image_size == (64, 64)
    assert adapt(NaFlexVit(**SMALL)).image_size == (28, 36)
    assert adapt(NaFlexVit(**SMALL | without_grid, img_size=(24, 40))).image_size == (24, 40)
    assert adapt(NaFlexVit(**SMALL | without_grid, pos_embed="none")).image_size == (64, 64)


def test_methods_that_need_a_class_token_find_it() -> None:
    model = FAMILIES["C-RADIO (class token, registers)"]()
    reduced = keeprate.reduce(model, "class-attention", "keep=0.7@1")
    assert reduced(adapt(model).example(1)).shape == (1, 7)
    with pytest.raises(KeeprateError, match="'class-attention' needs a class token"):
        keeprate.reduce(FAMILIES["SigLIP 2"](), "class-attention", "keep=0.7@1")


def test_a_classic_model_made_flexible_is_the_classic_model() -> None:
    options = {"img_size": 32, "patch_size": 4, "embed_dim": 48, "depth": 3, "num_heads": 3}
    model = timm.create_model("vit_tiny_patch16_224", use_naflex=True, **options).eval()
    assert adapt(model).name == "timm-naflex"
    assert adapt(model).image_size == (32, 32)
    assert_identical(randomised(model))


def test_patches_in_place_of_images_are_refused() -> None:
    model = FAMILIES["average pooling, registers"]()
    reduced = keeprate.reduce(model, "tome", "r=2")
    patches = torch.randn(2, 64, 48)
    coordinates = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij"), -1)
    packed = {
        "patches": patches,
        "patch_coord": coordinates.reshape(1, 64, 2).expand(2, -1, -1),
        "patch_valid": torch.ones(2, 64, dtype=torch.bool),
    }
    assert model(packed).shape == (2, 7)
    for inputs in (packed, patches):
        with pytest.raises(KeeprateError, match="NaFlexVit is reduced on images"):
            reduced(inputs)
    with pytest.raises(KeeprateError, match="NaFlexVit is reduced on images"):
        reduced(**packed)


def small(**options: object) -> nn.Module:
    return NaFlexVit(**SMALL, **options)


def early() -> nn.Module:
    model = small()
    del model.rope
    return model


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: type("MyFlex", (NaFlexVit,), {})(**SMALL), "a subclass of NaFlexVit may compute"),
        (early, "this timm's NaFlexVit is of an early form"),
        (lambda: small(rope_type="axial"), r"rotary embeddings \(rope_type\) are not supported"),
        (lambda: small(attn_type="eva"), "block 0 is a EvaBlock, not Block or"),
        (lambda: small(patch_drop_rate=0.1), r"patch dropout \(patch_drop_rate > 0\)"),
        (lambda: small(global_pool="avgmax"), "pooling 'avgmax' is not supported"),
    ],
    ids=["subclass", "early form", "rotary embedding", "EVA's blocks", "patch dropout", "pooling"],
)
def test_what_is_not_known_is_refused_by_name(build: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(KeeprateError, match=why):
        adapt(build())
