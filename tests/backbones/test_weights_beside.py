"""A checkpoint may hold other tensors beside the model: they are left out, and that is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from keeprate.backbones.loading.checkpoints import read_weights
from keeprate.backbones.loading.load import load_model, outline
from keeprate.errors import KeeprateError

OTHERS = {
    "criterion.weight": torch.ones(3),
    "metric.confusion": torch.ones(3, 3, dtype=torch.int64),
}


@pytest.fixture(scope="module")
def state() -> Mapping[str, Tensor]:
    torch.manual_seed(0)
    model: nn.Module = timm.create_model("test_vit", num_classes=3)
    return model.state_dict()


def behind(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor.clone() for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["model.", "model.module.", "vit."])
def test_what_lightning_has_beside_the_model_is_left_out_and_told(
    prefix: str, state: Mapping[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "w.ckpt"
    torch.save({"state_dict": {**OTHERS, **behind(prefix, state)}, "epoch": 3}, path)
    loaded = load_model("test_vit", weights=path)
    assert all(torch.equal(state[name], w) for name, w in loaded.model.state_dict().items())
    told = "Left out of 'w.ckpt', since it is beside the model there: "
    assert loaded.adapted == (f"{told}criterion.weight, metric.confusion.",)
    assert outline("test_vit", weights=path).adapted == loaded.adapted


@pytest.mark.parametrize("other", ["model_ema.module.", "teacher.", ""])
def test_which_of_two_models_is_meant_is_not_guessed(
    other: str, state: Mapping[str, Tensor], tmp_path: Path
) -> None:
    save_file(behind("model.", state) | behind(other, state), tmp_path / "w.safetensors")
    with pytest.raises(KeeprateError, match="holds several sets of weights: ") as raised:
        outline("test_vit", weights=tmp_path / "w.safetensors")
    assert all(f"'{prefix}{min(state)}'" in str(raised.value) for prefix in ("model.", other))


def test_an_average_among_the_callbacks_is_a_rival_of_a_model_with_others_beside(
    state: Mapping[str, Tensor], tmp_path: Path
) -> None:
    ours = behind("model.", state)
    average = {"callbacks": {"EMA": {"weights": ours}}}
    torch.save({"state_dict": {**OTHERS, **ours}, **average}, tmp_path / "w.ckpt")
    with pytest.raises(KeeprateError, match=r"'state_dict', 'callbacks\.EMA\.weights'"):
        read_weights(tmp_path / "w.ckpt", own=state.keys())


def test_what_has_no_place_in_a_model_without_prefix_is_refused(
    state: Mapping[str, Tensor], tmp_path: Path
) -> None:
    torch.save({**state, "criterion.weight": torch.ones(3)}, tmp_path / "w.pth")
    with pytest.raises(KeeprateError, match=r"1 unexpected \(criterion.weight\)"):
        outline("test_vit", weights=tmp_path / "w.pth")


def test_a_head_beside_the_model_is_missed(state: Mapping[str, Tensor], tmp_path: Path) -> None:
    body = {name: tensor for name, tensor in state.items() if not name.startswith("head")}
    torch.save({**behind("model.", body), "head.weight": torch.ones(3, 64)}, tmp_path / "w.pth")
    with pytest.raises(KeeprateError, match=r"2 missing \(head.bias, head.weight\)"):
        outline("test_vit", weights=tmp_path / "w.pth")
