"""Weights are loaded as they are; tables of positions are resampled for an image size asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor, nn

from keeprate.backbones.loading.load import load_model, outline
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.backbones.loading.timm_request import TimmRequest
from keeprate.errors import KeeprateError
from paths import SHARED

REAL = SHARED / "data/vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"


def made(name: str = "test_vit", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=3, **options).eval()


def saved(model: nn.Module, folder: Path, **others: Tensor) -> Path:
    save_file({**model.state_dict(), **others}, folder / "w.safetensors")
    return folder / "w.safetensors"


def refusal(load: Callable[..., Any], name: str, **options: Any) -> str:
    with pytest.raises(KeeprateError) as raised:
        load(name, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def resampled(model: nn.Module, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    table = model.get_parameter("pos_embed")
    prefix = table.shape[1] - old[0] * old[1]
    expected: Tensor = resample_abs_pos_embed(table, list(new), list(old), num_prefix_tokens=prefix)
    return expected


@pytest.mark.parametrize(
    ("own", "grid"),
    [(10, (5, 20)), (10, (20, 5)), (10, (10, 20)), (8, (4, 16)), (8, (10, 10))],
    ids=str,
)
def test_positions_are_resampled_between_grids_also_of_as_many_patches(
    own: int, grid: tuple[int, int], tmp_path: Path
) -> None:
    # weights of 8 x 8 patches are of another size than the model's own, which is 10 x 10
    model, size = made(img_size=16 * own), (16 * grid[0], 16 * grid[1])
    loaded = load_model("test_vit", weights=saved(model, tmp_path), image_size=size)
    positions = loaded.model.get_parameter("pos_embed")
    assert torch.equal(positions, resampled(model, (own, own), grid))
    change = f"pos_embed resampled from {own}x{own} to {grid[0]}x{grid[1]} patches."
    assert loaded.adapted == (f"For this image size: {change}",)
    assert ModelInput.of(loaded.model).image_size == size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "own", "size", "patch"),
    [
        ("deit_tiny_distilled_patch16_224", 14, (112, 448), 16),  # two prefix tokens
        ("deit_tiny_distilled_patch16_224", 14, (448, 112), 16),
        ("eva02_tiny_patch14_224", 16, (112, 448), 14),  # rotary embeddings beside the table
        ("vit_little_patch16_reg4_gap_256", 16, (128, 512), 16),  # registers without positions
        ("vit_base_patch16_siglip_gap_224", 14, (112, 448), 16),  # no prefix token
        ("vit_tiny_r_s16_p8_224", 7, (32, 1568), 32),  # a hybrid
        ("vit_base_mci_224", 14, (112, 448), 16),  # timm does not know the grid of its table
        ("lvvit_t", 14, (112, 448), 16),
    ],
)
def test_every_family_compares_grids(
    name: str, own: int, size: tuple[int, int], patch: int, tmp_path: Path
) -> None:
    model = made(name)
    loaded = load_model(name, weights=saved(model, tmp_path), image_size=size)
    grid = size[0] // patch, size[1] // patch
    positions = loaded.model.get_parameter("pos_embed")
    assert torch.equal(positions, resampled(model, (own, own), grid))


def test_an_oblong_size_that_the_weights_have_resamples_nothing(tmp_path: Path) -> None:
    model = made(img_size=(96, 128))  # 48 patches are no square
    loaded = load_model("test_vit", weights=saved(model, tmp_path), image_size=(96, 128))
    assert loaded.adapted == ()
    assert torch.equal(loaded.model.get_parameter("pos_embed"), model.get_parameter("pos_embed"))


def test_a_grid_that_nothing_says_is_refused(tmp_path: Path) -> None:
    path = saved(made(img_size=(96, 128)), tmp_path)
    message = refusal(load_model, "test_vit", weights=path, image_size=160)
    assert "has 49 position embeddings: neither a square nor the 10x10 patches" in message


def test_a_model_that_is_described_as_oblong_is_resampled_from_its_own_grid(
    tmp_path: Path,
) -> None:
    model, size = made(img_size=(80, 320)), (80, 320)
    saved(model, tmp_path).rename(tmp_path / "model.safetensors")
    description = {
        "architecture": "test_vit",
        "num_classes": 3,
        "model_args": {"img_size": size},
        "pretrained_cfg": {"input_size": (3, *size), "num_classes": 3, "classifier": "head"},
    }
    (tmp_path / "config.json").write_text(json.dumps(description))
    name = f"local-dir:{tmp_path}"
    for asked, adapted in (
        (None, None),
        (size, None),
        ((160, 160), (10, 10)),
        ((320, 80), (20, 5)),
    ):
        loaded = load_model(name, image_size=asked)
        positions = loaded.model.get_parameter("pos_embed")
        assert torch.equal(positions, resampled(model, (5, 20), adapted or (5, 20)))
        assert len(loaded.adapted) == (adapted is not None)


@pytest.mark.sample(2)
@pytest.mark.parametrize("load", [load_model, outline])
@pytest.mark.parametrize("image_size", [None, (192, 192)])
@pytest.mark.parametrize("patch", [8, 32])
def test_kernels_are_not_resampled(
    load: Callable[..., Any], image_size: tuple[int, int] | None, patch: int, tmp_path: Path
) -> None:
    path = saved(made(patch_size=patch, img_size=10 * patch), tmp_path)
    message = refusal(load, "test_vit", weights=path, image_size=image_size)
    kernels = f"patch_embed.proj.weight (64, 3, {patch}, {patch}) for (64, 3, 16, 16)"
    assert message.endswith(f"do not fit the model 'test_vit': 1 of another shape ({kernels}).")


@pytest.mark.parametrize("load", [load_model, outline])
def test_trained_weights_are_not_left_out(load: Callable[..., Any], tmp_path: Path) -> None:
    extra = {"pre_logits.fc.weight": torch.eye(64), "pre_logits.fc.bias": torch.zeros(64)}
    message = refusal(load, "test_vit", weights=saved(made(), tmp_path, **extra))
    assert "2 unexpected (pre_logits.fc.bias, pre_logits.fc.weight)" in message


def test_weights_that_a_model_forgives_are_missed(tmp_path: Path) -> None:
    name = "vit_base_patch16_siglip_gap_224"  # timm loads it without complaint
    skeleton = TimmRequest(name, None, 3).skeleton()
    shapes = {key: tuple(tensor.shape) for key, tensor in skeleton.state_dict().items()}
    del shapes["blocks.3.norm1.weight"]
    path = written(shapes, tmp_path)
    assert "1 missing (blocks.3.norm1.weight)" in refusal(outline, name, weights=path)


def written(shapes: dict[str, tuple[int, ...]], folder: Path) -> Path:
    """Write a checkpoint that has shapes and next to no bytes."""
    state = {name: torch.zeros(()).expand(shape) for name, shape in shapes.items()}
    torch.save(state, folder / "w.pth")
    return folder / "w.pth"


def shapes_of(name: str, image_size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    skeleton = TimmRequest(name, image_size, None).skeleton()
    return {key: tuple(tensor.shape) for key, tensor in skeleton.state_dict().items()}


def test_tables_of_relative_positions_are_not_resampled_unasked(tmp_path: Path) -> None:
    path = written(shapes_of("beit_base_patch16_224", (384, 384)), tmp_path)
    message = refusal(outline, "beit_base_patch16_224", weights=path)
    assert "has 2212 relative positions, the model has 732" in message
    assert message.endswith("Say which: --image-size PIXELS.")


@pytest.mark.slow
def test_tables_of_relative_positions_are_resampled_when_asked(tmp_path: Path) -> None:
    name = "beit_base_patch16_224"
    path = written(shapes_of(name, (384, 384)), tmp_path)
    (adapted,) = outline(name, weights=path, image_size=(224, 448)).adapted
    assert "blocks.1.attn.relative_position_bias_table" in adapted
    assert adapted.endswith("resampled from 24x24 to 14x28 patches.")
    # no table of a square window has as many rows as one of 14 x 28 patches
    path = written(shapes_of(name, (224, 448)), tmp_path)
    assert outline(name, weights=path, image_size=(224, 448)).adapted == ()


def test_weights_that_timm_only_renames_fit(tmp_path: Path) -> None:
    name = "deit3_small_patch16_224"
    shapes = shapes_of(name, (224, 224))
    renamed = {
        key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): shape
        for key, shape in shapes.items()
    }
    assert renamed.keys() != shapes.keys()
    assert outline(name, weights=written(renamed, tmp_path)).adapted == ()


def test_a_size_that_timm_asserts_against_is_refused_in_one_line() -> None:
    message = refusal(outline, "vit_tiny_r_s16_p8_224", image_size=(112, 448))
    assert "'vit_tiny_r_s16_p8_224' for images of 112x448 pixels" in message
    assert "multiples of 32" in message


@pytest.mark.skipif(not REAL.exists(), reason="the real ViT-Tiny weights are not here")
def test_the_real_positions_are_resampled_as_by_timm() -> None:
    plain = load_model("vit_tiny_patch16_224", weights=REAL).model
    oblong = load_model("vit_tiny_patch16_224", weights=REAL, image_size=(112, 448))
    expected = resampled(plain, (14, 14), (7, 28))
    assert torch.equal(oblong.model.get_parameter("pos_embed"), expected)
