"""timm's hybrids and ViTamin: a convolutional network makes the patches, and is paid for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import timm
import torch
from timm.layers.hybrid_embed import HybridEmbed, HybridEmbedWithSize
from timm.layers.std_conv import StdConv2dSame
from timm.models.resnetv2 import ResNetV2
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from timm.models.vitamin import GeGluMlp, MbConvStages, VitCfg
from torch import nn

import keeprate
from battery import Battery, on_meta, randomised
from keeprate import KeeprateError, Needs, Place
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof
from references.uneven import assert_as_if_each_ran_alone

pytestmark = pytest.mark.sample(2)

SMALL = {"embed_dim": 48, "depth": 4, "num_heads": 3, "num_classes": 7}


def hybrid(
    stem: Callable[[], nn.Module],
    cls: type[VisionTransformer] = VisionTransformer,
    *,
    proj: bool = False,
    **options: object,
) -> Callable[[], nn.Module]:
    """Return how to build a hybrid; without `proj`, whose stem makes `embed_dim` channels."""

    def build() -> nn.Module:
        embed = partial(HybridEmbed, backbone=stem(), proj=proj)
        arguments = {"img_size": 64, "patch_size": 1, **SMALL, **options}
        return cls(**arguments, embed_layer=embed).eval()

    return build


def mobile_stem() -> nn.Module:
    return ConvStem(channels=(12, 24, 48), stride=(2, 2, 2), kernel_size=3, padding=1)


def vitamin_stem() -> nn.Module:
    return MbConvStages(VitCfg(embed_dim=(8, 16, 48), depths=(1, 2, 1), stem_width=8))


def resnet_v2() -> nn.Module:
    convolution = partial(StdConv2dSame, eps=1e-8)
    options = {"num_classes": 0, "global_pool": "", "preact": False, "stem_type": "same"}
    return ResNetV2((1, 1), channels=(128, 256), conv_layer=convolution, **options)


def resnet() -> nn.Module:
    return timm.create_model("test_resnet", features_only=True, out_indices=[2])


def tiny(**options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model("vit_tiny_r_s16_p8_224", **SMALL, **options).eval()


VITAMIN = {"mlp_layer": GeGluMlp, "class_token": False, "global_pool": "avg"}
FAMILIES = {
    "one convolution, patches of 8": tiny(img_size=128),
    "ResNet V2": hybrid(resnet_v2, proj=True),
    "ResNet (a list of features)": hybrid(resnet, proj=True),
    "three convolutions (MobileCLIP)": hybrid(mobile_stem),
    "MobileNet blocks (ViTamin)": hybrid(vitamin_stem, **VITAMIN),
    "ViTamin XL (no positions)": hybrid(vitamin_stem, **VITAMIN, pos_embed="none"),
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


def test_costs_of_stems_are_those_written_out() -> None:
    tiny_stem = 64 * 64 * 64 * (7 * 7 * 3)  # at half the size, before it is halved again
    backbone = adapt(on_meta(FAMILIES["one convolution, patches of 8"]()))
    assert backbone.embed_macs((128, 128)) == tiny_stem + 16 * 48 * (8 * 8 * 64)
    depthwise = adapt(on_meta(FAMILIES["MobileNet blocks (ViTamin)"]()))
    stem = 32 * 32 * 8 * (9 * 3 + 9 * 8)
    shortcut = 8 * 8 * 16 * 8  # of the second stage: the first keeps its channels
    first = 32 * 32 * 32 * 8 + 16 * 16 * (32 * 9 + 8 * 32)
    second = 16 * 16 * 64 * 8 + 8 * 8 * (64 * 9 + 16 * 64)
    third = 8 * 8 * (64 * 16 + 64 * 9 + 16 * 64)
    last = 4 * 4 * 48 * 9 * 16
    assert depthwise.embed_macs((64, 64)) == stem + shortcut + first + second + third + last


@pytest.mark.parametrize(
    ("build", "size", "patches"),
    [
        (tiny(img_size=128, dynamic_img_size=True), (160, 107), 5 * 3),
        (hybrid(resnet_v2, proj=True, dynamic_img_size=True), (57, 99), 8 * 13),
        (FAMILIES["ViTamin XL (no positions)"], (50, 81), 4 * 6),
    ],
    ids=["cut off", "rounded up", "no positions"],
)
def test_patches_of_other_sizes_are_those_the_stem_makes(
    build: Callable[[], nn.Module], size: tuple[int, int], patches: int
) -> None:
    model = randomised(build()).double()
    backbone = adapt(model)
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    assert backbone.num_patches(size) == patches
    assert backbone.embed(images).shape[1] == patches + backbone.num_prefix
    assert proof.identity_error(backbone, images) == 0.0
    for place in Place:
        assert proof.oracle_error(backbone, images, "keep=0.6@0,2", place, Needs.KEYS) < 1e-9
    reduced = proof.probed(backbone, "keep=0.6@0,2")
    assert reduced.costs(size).model == proof.counted_macs(backbone, reduced, images)


class AttentionStem(nn.Module):
    """Multiplies matrices that are no convolutions."""

    num_features = 48

    def __init__(self, product: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.conv, self.product = nn.Conv2d(3, 48, 16, 16), product

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.conv(images)
        return self.product(x, x.transpose(-2, -1))


@pytest.mark.parametrize("product", [torch.matmul, lambda a, b: a @ b], ids=["matmul", "@"])
def test_a_stem_that_cannot_be_counted_is_refused(product: Callable[..., torch.Tensor]) -> None:
    model = hybrid(lambda: AttentionStem(product))()
    with pytest.raises(KeeprateError, match=r"The cost of .*matmul.* in a stem cannot be"):
        keeprate.macs(model)


def test_what_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(KeeprateError, match="a subclass of VisionTransformer may compute other"):
        adapt(hybrid(mobile_stem, type("MyHybrid", (VisionTransformer,), {}))())
    model = hybrid(mobile_stem)()
    model.blocks[1].mlp = nn.Identity()
    with pytest.raises(KeeprateError, match="timm-hybrid: the MLP of block 1 is a Identity"):
        adapt(model)
    model.patch_embed = HybridEmbedWithSize(mobile_stem(), img_size=64, embed_dim=48)
    with pytest.raises(KeeprateError, match="patch embedding is a HybridEmbedWithSize, not Patch"):
        adapt(model)
