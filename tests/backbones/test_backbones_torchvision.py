"""torchvision's VisionTransformer: its own forward pass, its own figures, its weights by name."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import get_model_weights
from torchvision.models.vision_transformer import (
    VisionTransformer,
    ViT_B_16_Weights,
    interpolate_embeddings,
)

import keeprate
from battery import Battery, randomised
from keeprate import KeeprateError
from keeprate.backbones.loading import torchvision as loading
from keeprate.backbones.loading.load import check_published, load_model, outline
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.backbones.lookup import adapt
from keeprate.backbones.torchvision.vit import TorchvisionViT
from keeprate.reduction import proof

pytestmark = pytest.mark.sample(1)

FAMILIES = TorchvisionViT.examples()
SIZES = {"patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 8}
NAME = "torchvision:vit_b_16"


@pytest.fixture(params=FAMILIES, ids=str, scope="module")
def model(request: pytest.FixtureRequest) -> nn.Module:
    return randomised(FAMILIES[request.param]().eval())


class TestFamily(Battery):
    """Every example passes the battery."""


def small(**options: Any) -> VisionTransformer:
    return VisionTransformer(**{"image_size": 32, **SIZES, **options}).eval()


def test_torchs_shortcut_is_taken_where_nothing_is_read_and_only_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three of four blocks run as the model's own do, the block of the stage is read."""
    backbone = adapt(randomised(FAMILIES["ViT"]().eval()))
    images, calls = backbone.example(1), []
    shortcut = torch._native_multi_head_attention

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return shortcut(*arguments)

    monkeypatch.setattr(torch, "_native_multi_head_attention", counted)
    with torch.inference_mode():
        backbone.plain(images)
        plain = len(calls)
        proof.probed(backbone, "keep=0.5@1")(images)
    assert (plain, len(calls) - plain) == (4, 3)
    assert torch.backends.mha.get_fastpath_enabled()


def test_costs_are_those_that_torchvision_states() -> None:
    """Its own figures, GMACs with three digits, of every published size."""
    for published in ViT_B_16_Weights:
        model = outline(f"{NAME}.{published.name}").model
        assert round(keeprate.macs(model) / 1e9, 3) == published.meta["_ops"]
        assert sum(p.numel() for p in model.parameters()) == published.meta["num_params"]


def test_images_of_other_sizes_are_refused() -> None:
    with pytest.raises(KeeprateError, match="takes images of 32 x 32 pixels, not 48 x 32"):
        keeprate.macs(small(), (48, 32))


def changed(path: str, part: nn.Module) -> nn.Module:
    model = small()
    model.set_submodule(path, part)
    return model


def hooked(path: str) -> nn.Module:
    model = small()
    model.get_submodule(path).register_forward_hook(lambda module, inputs, output: output)
    return model


FIRST = "encoder.layers.encoder_layer_0"


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (
            lambda: type("Mine", (VisionTransformer,), {})(image_size=32, **SIZES),
            "a subclass of VisionTransformer",
        ),
        (lambda: changed(f"{FIRST}.mlp", nn.Identity()), "the MLP of block 0 is a Identity"),
        (
            lambda: changed(f"{FIRST}.self_attention", nn.MultiheadAttention(8, 2, kdim=4)),
            "the attention of block 0 has keys and values of its own",
        ),
        (lambda: hooked(FIRST), "forward hooks on it or its blocks"),
        (lambda: hooked(f"{FIRST}.self_attention.out_proj"), "forward hooks on it or its blocks"),
    ],
    ids=["subclass", "MLP", "attention", "hook on a block", "hook inside the attention"],
)
def test_what_is_not_known_is_refused(build: Callable[[], nn.Module], why: str) -> None:
    with pytest.raises(KeeprateError, match=why):
        adapt(build())


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of torchvision's names are tiny, with images of 224 or 384 pixels as they are."""
    sizes = {**SIZES, "patch_size": 32}
    monkeypatch.setattr(
        loading, "get_model", lambda name, weights, **options: VisionTransformer(**sizes, **options)
    )


def saved(folder: Path, image_size: int = 224, file: str = "mine.pth") -> tuple[Path, nn.Module]:
    model = randomised(small(image_size=image_size, patch_size=32, num_classes=5))
    older = {
        name.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): weight
        for name, weight in model.state_dict().items()
    }
    torch.save(
        {"model": {f"module.{name}": weight for name, weight in older.items()}}, folder / file
    )
    return folder / file, model


@pytest.mark.usefixtures("tiny")
def test_a_file_under_the_names_of_torchvisions_older_files_is_the_model(tmp_path: Path) -> None:
    path, model = saved(tmp_path)
    loaded = load_model(NAME, weights=path)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(loaded.model(images), model(images))
    assert (loaded.name, str(loaded.weights), loaded.adapted) == (NAME, "mine.pth", ())


@pytest.mark.usefixtures("tiny")
def test_positions_are_interpolated_as_torchvision_does_if_asked(tmp_path: Path) -> None:
    path, model = saved(tmp_path)
    loaded = load_model(NAME, weights=path, image_size=320)
    expected = interpolate_embeddings(320, 32, model.state_dict())["encoder.pos_embedding"]
    assert torch.equal(loaded.model.get_parameter("encoder.pos_embedding"), expected)
    note = "For this image size: encoder.pos_embedding resampled from 7x7 to 10x10 patches."
    assert loaded.adapted == outline(NAME, weights=path, image_size=(320, 320)).adapted == (note,)
    assert ModelInput.of(loaded.model).image_size == (320, 320)


def refusal(name: str = NAME, **arguments: Any) -> str:
    with pytest.raises(KeeprateError) as raised:
        outline(name, **arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.usefixtures("tiny")
def test_weights_of_another_size_or_model_are_refused(tmp_path: Path) -> None:
    path, _ = saved(tmp_path, image_size=384)
    assert "has 145 position embeddings, the model has 50" in refusal(weights=path)
    assert outline(f"{NAME}.IMAGENET1K_SWAG_E2E_V1", weights=path).adapted == ()
    torch.save(small(image_size=224, patch_size=32, hidden_dim=4).state_dict(), path)
    assert " of another shape (class_token (1, 1, 4) for (1, 1, 8)," in refusal(weights=path)
    assert "takes square images, not 224 x 256" in refusal(image_size=(224, 256))
    assert refusal(image_size=(230, 230)).startswith("Image size 230 is not a multiple of")


def test_slips_in_names_are_told() -> None:
    assert refusal("torchvision:vit_b_61").endswith("Did you mean 'torchvision:vit_b_16'?")
    swag = f"{NAME}.IMAGENET1K_SWAG_E2E"
    assert refusal(swag) == f"No model '{swag}'. Did you mean '{swag}_V1'?"
    assert "goes with the model's name" not in refusal(weights=Path("IMAGENET1K_V2"))
    assert refusal(weights=Path("IMAGENET1K_V1")).endswith(f" {NAME}.IMAGENET1K_V1.")
    assert refusal(f"{NAME}:dropout=0.1").startswith(f"'{NAME}' takes no arguments (dropout)")


@pytest.mark.parametrize("published", [*ViT_B_16_Weights, *get_model_weights("vit_l_16")], ids=str)
def test_images_are_prepared_as_the_weights_say(published: Any) -> None:
    preset = published.transforms()
    file = Path(published.url.rpartition("/")[2])
    prepared = loading._description(published)
    assert int(preset.crop_size[0] / prepared["crop_pct"]) == preset.resize_size[0]
    assert prepared["interpolation"] == preset.interpolation.value
    request = loading.TorchvisionRequest.parse(NAME, None)
    stated = loading._stated(request, file)
    assert [each.fields["interpolation"] for each in stated] == (
        [preset.interpolation.value] if published in set(ViT_B_16_Weights) else []
    )


def test_published_weights_out_of_reach_are_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def unreachable(*arguments: Any, **options: Any) -> Any:
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(KeeprateError, match=r"Give the file: --weights FILE\.pth"):
        check_published(NAME, nn.Identity())
    cached = tmp_path / "checkpoints/vit_b_16-c867db91.pth"
    cached.parent.mkdir()
    cached.write_bytes(b"")
    check_published(NAME, nn.Identity())
