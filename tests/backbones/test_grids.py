"""The grid that a backbone tells of is where its patches are: each token follows its own place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
from timm.models.volo import VOLO
from torch import nn

from battery import randomised
from keeprate import Backbone
from keeprate.backbone import Backbone as Interface
from keeprate.backbones.huggingface.examples import build
from keeprate.backbones.lookup import adapt
from keeprate.backbones.lvvit_model import LVViT

VIT = {"patch_size": 4, "embed_dim": 24, "num_heads": 3, "depth": 2, "num_classes": 5}
NAFLEX = {**VIT, "pos_embed_grid_size": (7, 9)}
PIT = {"patch_size": 4, "stride": 2, "base_dims": (16, 16), "depth": (1, 2), "heads": (1, 2)}
LVVIT = {"img_size": (24, 40), "patch_size": 4, "embed_dim": 48, "depth": 2, "num_heads": 3}
VOLO_SIZE = {
    "img_size": 64,
    "patch_size": 4,
    "layers": [1, 2],
    "embed_dims": [16, 32],
    "num_heads": [2, 4],
    "downsamples": (True, False),
    "outlook_attention": (True, False),
    "stem_hidden_dim": 8,
}
HF = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


def vit(name: str, height: int = 24, width: int = 40, **options: object) -> Callable[[], nn.Module]:
    return lambda: timm.create_model(name, img_size=(height, width), **{**VIT, **options})


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int], tuple[int, int]]] = {
    "oblong": (vit("vit_tiny_patch16_224"), (24, 40), (6, 10)),
    "class and distillation token": (vit("deit_tiny_distilled_patch16_224"), (24, 40), (6, 10)),
    "patches of 14, registers": (
        vit("vit_small_patch14_reg4_dinov2", 42, 70, patch_size=14),
        (42, 70),
        (3, 5),
    ),
    "patches of 8, positions looked up": (
        vit("beit_base_patch16_224", 32, 24, patch_size=8),
        (32, 24),
        (4, 3),
    ),
    "eva": (vit("vit_small_patch16_rope_224"), (24, 40), (6, 10)),
    "naflex": (
        lambda: timm.create_model("naflexvit_base_patch16_gap", **NAFLEX),
        (24, 40),
        (6, 10),
    ),
    "lv-vit": (lambda: LVViT(**LVVIT), (24, 40), (6, 10)),
    "pit": (lambda: timm.create_model("pit_ti_224", img_size=(44, 60), **PIT), (44, 60), (11, 15)),
    "volo": (lambda: VOLO(**VOLO_SIZE), (64, 64), (8, 8)),
    "convolutions first": (
        lambda: timm.create_model("vit_base_mci_224", img_size=(64, 96), depth=2),
        (64, 96),
        (4, 6),
    ),
    "transformers": (
        lambda: build("ViT", {**HF, "image_size": (24, 32), "patch_size": 8}),
        (24, 32),
        (3, 4),
    ),
}


def backbone(kind: str) -> tuple[Backbone, tuple[int, int], tuple[int, int]]:
    if kind == "transformers":
        pytest.importorskip("transformers")
    build_model, image_size, grid = MODELS[kind]
    return adapt(randomised(build_model().eval())), image_size, grid


@pytest.mark.parametrize("kind", MODELS)
def test_there_are_as_many_patches_as_the_grid_has_places(kind: str) -> None:
    model, image_size, grid = backbone(kind)
    assert model.grid(image_size) == grid
    assert model.num_patches(image_size) == grid[0] * grid[1]


@pytest.mark.parametrize("kind", MODELS)
def test_tokens_follow_the_pixels_at_their_place(kind: str) -> None:
    """Change the image inside one place: the tokens that move have their middle there."""
    model, image_size, (rows, columns) = backbone(kind)
    images = torch.randn(1, 3, *image_size, generator=torch.Generator().manual_seed(0))
    height, width = image_size[0] // rows, image_size[1] // columns
    across, down = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="xy")
    with torch.inference_mode():
        before = model.embed(images)[0, model.num_prefix :]
        for row, column in ((1, 1), (rows - 2, 1), (1, columns - 2)):
            moved = images.clone()
            moved[
                ..., row * height : (row + 1) * height, column * width : (column + 1) * width
            ] += 3
            apart = model.embed(moved)[0, model.num_prefix :] - before
            weight = apart.square().sum(dim=1).view(rows, columns)
            middle = [float((weight * place).sum() / weight.sum()) for place in (down, across)]
            assert middle == pytest.approx([row, column], abs=0.75)


@pytest.mark.parametrize("kind", ["oblong", "lv-vit"])
def test_patches_that_do_not_part_the_image_evenly_are_not_told_of(kind: str) -> None:
    model, *_ = backbone(kind)
    assert model.grid((26, 40)) is None


def test_a_grid_of_transformers_leaves_nothing_out() -> None:
    pytest.importorskip("transformers")
    model = adapt(build("Dinov2", {**HF, "image_size": 28, "patch_size": 14}).eval())
    assert model.grid((28, 42)) == (2, 3)
    assert model.grid((28, 47)) is None


def test_a_backbone_need_not_know_its_grid() -> None:
    model, image_size, _ = backbone("oblong")
    assert Interface.grid(model, image_size) is None
