"""A model gets every weight it needs, from where it was said, or is refused in one line."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from keeprate.backbones.loading.load import load_model
from keeprate.backbones.loading.loaded import weights_sha256
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.errors import KeeprateError
from keeprate.results.weights_origin import WeightsKind
from paths import SHARED

NAME = "test_vit"  # timm's smallest: 160 pixels, patches of 16, 64 channels, 1000 classes
REAL = SHARED / "data/vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"


@pytest.fixture(scope="module")
def original() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(NAME).eval()


@pytest.fixture(scope="module")
def weights(original: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(original.state_dict(), tmp_path_factory.mktemp("weights"))


def saved(state: dict[str, Tensor], folder: Path) -> Path:
    save_file(state, folder / "vit.safetensors")
    return folder / "vit.safetensors"


def refusal(name: str = NAME, **arguments: Any) -> str:
    with pytest.raises(KeeprateError) as raised:
        load_model(name, **arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_weights_are_those_of_the_file(original: nn.Module, weights: Path) -> None:
    loaded = load_model(NAME, weights=weights)
    images = torch.rand(2, 3, 160, 160)
    assert torch.equal(loaded.model(images), original(images))
    assert (loaded.name, str(loaded.weights)) == (NAME, "vit.safetensors")
    assert loaded.weights_sha256 == weights_sha256(original)
    assert not loaded.model.training


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_training_checkpoints_are_unwrapped(
    wrapper: str | None, original: nn.Module, tmp_path: Path
) -> None:
    state = {f"module.{name}": tensor for name, tensor in original.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "last.pth")
    loaded = load_model(NAME, weights=tmp_path / "last.pth")
    assert loaded.weights_sha256 == weights_sha256(original)


def test_checkpoints_that_hold_code_are_refused(original: nn.Module, tmp_path: Path) -> None:
    torch.save(original, tmp_path / "whole.pth")
    assert "holds code, which is never run" in refusal(weights=tmp_path / "whole.pth")


def test_the_classes_are_read_from_the_file(original: nn.Module, tmp_path: Path) -> None:
    state = original.state_dict()
    state |= {"head.weight": torch.ones(7, 64), "head.bias": torch.zeros(7)}
    model = load_model(NAME, weights=saved(state, tmp_path)).model
    assert torch.equal(model.get_parameter("head.weight"), torch.ones(7, 64))


def test_another_image_size_resamples_the_position_embedding(
    original: nn.Module, weights: Path
) -> None:
    model = load_model(NAME, weights=weights, image_size=240).model
    positions = model.get_parameter("pos_embed")
    assert positions.shape == (1, 1 + 15 * 15, 64)
    ours, theirs = positions[0, 1:].mean(0), original.get_parameter("pos_embed")[0, 1:].mean(0)
    assert (ours - theirs).norm() < 0.1 * theirs.norm()
    assert ModelInput.of(model).image_size == (240, 240)


def test_weights_of_another_image_size_are_not_resampled_unasked(tmp_path: Path) -> None:
    larger = timm.create_model(NAME, img_size=240).state_dict()
    path = saved(larger, tmp_path)
    assert "has 226 position embeddings, the model has 101" in refusal(weights=path)
    assert load_model(NAME, weights=path, image_size=240).weights.name == "vit.safetensors"


def test_image_sizes_must_be_whole_patches(weights: Path) -> None:
    assert "Image size 8 is smaller than one patch" in refusal(weights=weights, image_size=8)
    assert refusal(weights=weights, image_size=170).endswith("use 160 or 176.")
    assert "has no image size to set" in refusal("resnet18", image_size=224)


def test_what_does_not_fit_is_listed(original: nn.Module, tmp_path: Path) -> None:
    state = original.state_dict()
    state = {name: tensor for name, tensor in state.items() if "norm1" not in name}
    state |= {"extra": torch.zeros(1), "norm.bias": torch.zeros(3)}
    message = refusal(weights=saved(state, tmp_path))
    assert f"do not fit the model '{NAME}'" in message
    assert (
        " missing (blocks.0.norm1.bias, blocks.0.norm1.weight, blocks.1.norm1.bias, ...)" in message
    )
    assert "1 unexpected (extra)" in message
    assert "1 of another shape (norm.bias (3,) for (64,))" in message


def test_a_missing_head_is_not_made_up(original: nn.Module, tmp_path: Path) -> None:
    state = {name: value for name, value in original.state_dict().items() if "head" not in name}
    assert "2 missing (head.bias, head.weight)" in refusal(weights=saved(state, tmp_path))


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize("content", [b"", b"hello, not a checkpoint", b"\0" * 64])
def test_damaged_files_are_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert f"'{tmp_path / name}'" in refusal(weights=tmp_path / name)


def test_a_missing_file_is_named() -> None:
    assert refusal(weights=Path("gone.safetensors")) == "No weights file 'gone.safetensors'."


def test_unknown_models_are_named() -> None:
    expected = "No model 'vit_tinny_patch16_224'. Did you mean 'vit_tiny_patch16_224'?"
    assert refusal("vit_tinny_patch16_224") == expected
    assert "Did you mean 'test_vit.r160_in1k'?" in refusal("test_vit.r160_in1")
    assert refusal("qqqqq") == "No model 'qqqqq'. timm.list_models() lists them all."


def test_random_weights_on_request() -> None:
    loaded = load_model(NAME, pretrained=False, num_classes=5)
    assert loaded.weights.kind is WeightsKind.RANDOM
    assert loaded.model.get_parameter("head.bias").shape == (5,)


def test_pretrained_weights_have_their_own_classes() -> None:
    assert "have 1000 classes, not 5" in refusal(num_classes=5)


@pytest.mark.parametrize("name", [NAME, "hf-hub:timm/test_vit.r160_in1k"])
def test_without_a_network_the_remedy_comes_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", offline)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    started = time.monotonic()
    message = refusal(name)
    assert time.monotonic() - started < 10
    assert "Name or service not known" in message
    if name == NAME:
        assert message.endswith("Give local weights: --weights FILE.safetensors.")


def test_without_a_network_cached_weights_are_used(
    original: nn.Module, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keeprate.backbones.loading.timm.hub_problem", lambda: "offline")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: str(weights))
    loaded = load_model(NAME)
    assert loaded.weights.kind is WeightsKind.PRETRAINED
    assert loaded.weights_sha256 == weights_sha256(original)


def test_the_sha256_sees_every_weight(original: nn.Module) -> None:
    before = weights_sha256(original)
    bias = original.get_parameter("blocks.3.norm1.bias")
    with torch.no_grad():
        bias[0] += 1e-6
        changed = weights_sha256(original)
        bias[0] = 0
    assert changed != before == weights_sha256(original)


@pytest.mark.skipif(not REAL.exists(), reason="the real ViT-Tiny weights are not here")
def test_real_weights_load_strictly() -> None:
    loaded = load_model("vit_tiny_patch16_224", weights=REAL)
    assert sum(weight.numel() for weight in loaded.model.parameters()) == 5_717_416


@pytest.mark.parametrize("classes", [7, 1000])
def test_nothing_but_the_file_is_loaded_where_its_weights_are_those_of_the_model(
    classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """timm fetches weights of its own for the convolutions of some hybrids (`resnet26d`)."""
    own = timm.create_model(NAME, num_classes=classes)
    path = saved(own.state_dict(), tmp_path)
    create, asked = timm.create_model, []

    def creating(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        asked.append(pretrained)
        return create(name, pretrained, **options)

    monkeypatch.setattr(timm, "create_model", creating)
    loaded = load_model(NAME, weights=path).model
    assert set(asked) == {False}
    assert all(torch.equal(own.state_dict()[key], w) for key, w in loaded.state_dict().items())
