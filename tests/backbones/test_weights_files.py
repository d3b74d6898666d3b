"""Weights are found wherever a file keeps them; a file that has none is told what it is."""

from __future__ import annotations

import gc
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.lib.npyio import NpzFile
from safetensors.torch import save, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from keeprate.backbones.loading.checkpoints import read_weights
from keeprate.backbones.loading.file_kinds import kind_of
from keeprate.backbones.loading.load import load_model
from keeprate.backbones.loading.weight_types import check_types
from keeprate.errors import KeeprateError

LAYER = {"fc.weight": torch.ones(2, 3), "fc.bias": torch.ones(2)}
AVERAGE = {name: 2 * tensor for name, tensor in LAYER.items()}


def refusal(function: Callable[..., object], *arguments: object, **more: object) -> str:
    with pytest.raises(KeeprateError) as raised:
        function(*arguments, **more)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def torch_file(content: object, path: Path, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def prefixed(prefix: str, weights: Mapping[str, Tensor] = LAYER) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in weights.items()}


CONTENTS = {
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 22\n": "`git lfs pull`",
    b"": "is empty",
    b"\0" * 64: "holds nothing but zeros",
    b"<!DOCTYPE html><html>": "is a web page",
    b"\n<?xml version='1.0'?>": "is a web page",
    b"\x1f\x8b\x08": "is packed",
    b"PK\x03\x04": "is a zip archive that is cut off",
    b"\x89HDF\r\n": "is an HDF5 file",
    b"\x93NUMPY": "is a single numpy array",
    b'{"metadata": {}, "weight_map": {}}': "lists the parts of weights",
    b'{"epoch": 3}': "is a text (JSON)",
    b"hello, not a checkpoint": "is no weights file",
    save(LAYER)[:40]: "is cut off",
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_no_weights_is_told_what_it_is(content: bytes, tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.pth", "a"):
        (tmp_path / name).write_bytes(content)
        message = refusal(kind_of, tmp_path / name)
        assert message.startswith(f"'{tmp_path / name}' {CONTENTS[content].split('`')[0][:3]}")
        assert CONTENTS[content] in message


def test_archives_folders_and_parts_are_told_what_to_give(tmp_path: Path) -> None:
    assert "holds no weights file" in refusal(kind_of, tmp_path)
    (tmp_path / "model_00002-of-00003.pth").touch()
    assert "is one of 3 parts" in refusal(kind_of, tmp_path / "model_00002-of-00003.pth")
    (tmp_path / "model_00002-of-00003.pth").unlink()
    part = tmp_path / "model-00001-of-00002.safetensors"
    save_file(LAYER, part)
    assert "is one of 2 parts" in refusal(kind_of, part)
    assert "in 1 parts. Put them into one" in refusal(kind_of, tmp_path)
    save_file(LAYER, tmp_path / "whole.safetensors")
    assert "Give the weights file in it: " in refusal(kind_of, tmp_path)
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(part)
    assert "is a tar archive. Unpack it" in refusal(kind_of, tmp_path / "a.tar")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(part)
    assert "is a zip archive. Unpack it" in refusal(kind_of, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"")
        archive.writestr("a/data.pkl", b"")
    assert "is a TorchScript program: it holds code" in refusal(kind_of, tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["A.SAFETENSORS", "a.safetensors", "a.bin", "a"])
def test_the_content_of_a_file_counts_not_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    save_file(LAYER, path)
    assert read_weights(path).keys() == LAYER.keys()
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        for device in ("cpu", "meta"):
            weights = read_weights(torch_file(LAYER, path, **options), device)
            assert weights["fc.weight"].shape == (2, 3)


@pytest.mark.parametrize(
    "content",
    [
        {"net": LAYER, "acc": 90.0},
        {"module": LAYER, "optimizer": {"state": {0: {"exp_avg": torch.ones(2, 3)}}}},
        {"state_dict": prefixed("model."), "epoch": 3, "loss": torch.tensor(1.0)},
        {"model": LAYER, "criterion": {"queue": torch.ones(2, 2)}},
        {"state": {"model": LAYER}},
        {"state_dict": AVERAGE, "state_dict_ema": LAYER},
        {"model": LAYER, "model_ema": None},
        prefixed("_orig_mod.module."),
        prefixed("module.model."),
        {"fc._orig_mod.weight": LAYER["fc.weight"], "fc.bias": LAYER["fc.bias"]},
        {"n_averaged": torch.tensor(3), **prefixed("module.")},
    ],
)
def test_the_one_set_of_weights_is_found(content: dict[str, Any], tmp_path: Path) -> None:
    weights = read_weights(torch_file(content, tmp_path / "a.pth"))
    assert weights.keys() == LAYER.keys()
    assert torch.equal(weights["fc.weight"], LAYER["fc.weight"])


def test_averages_of_torch_are_read(tmp_path: Path) -> None:
    average = AveragedModel(nn.ModuleDict({"fc": nn.Linear(3, 2)}))
    assert read_weights(torch_file(average.state_dict(), tmp_path / "a.pth")).keys() == LAYER.keys()


def test_which_of_several_weights_is_meant_is_not_guessed(tmp_path: Path) -> None:
    for names in (["student", "teacher"], ["model", "ema"], ["state_dict", "swa_state_dict"]):
        path = torch_file(dict.fromkeys(names, LAYER), tmp_path / "a.pth")
        listed = f"'{names[0]}', '{names[1]}'. Save the one"
        assert listed in refusal(read_weights, path)


def test_a_file_without_weights_says_what_it_holds(tmp_path: Path) -> None:
    path = torch_file({"epoch": 3, "loss": torch.tensor(1.0)}, tmp_path / "a.pth")
    assert refusal(read_weights, path).endswith("holds no weights by name, but epoch, loss.")
    assert "holds a list" in refusal(read_weights, torch_file([LAYER], tmp_path / "b.pth"))
    save_file({}, tmp_path / "c.safetensors")
    assert "holds no weights" in refusal(read_weights, tmp_path / "c.safetensors")


class Trap:
    """Writes a file when it is unpickled as any pickle may."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.npz"])
def test_code_in_a_file_is_named_and_never_run(name: str, tmp_path: Path) -> None:
    content = {"net": LAYER, "more": Trap(tmp_path / "ran")}
    for options in ({}, {"_use_new_zipfile_serialization": False}):
        message = refusal(read_weights, torch_file(content, tmp_path / name, **options))
        assert "holds code, which is never run" in message
    np.savez(tmp_path / "b.npz", fc=np.array([Trap(tmp_path / "ran")], dtype=object))
    assert "Cannot read the weights" in refusal(read_weights, tmp_path / "b.npz")
    assert not (tmp_path / "ran").exists()
    whole = torch_file(nn.Linear(2, 3), tmp_path / name)
    assert "(torch.nn.modules.linear.Linear)" in refusal(read_weights, whole)


TYPES = (torch.int8, torch.uint8, torch.bool, torch.int32, torch.int64, torch.complex64)
FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.mark.parametrize("dtype", [*TYPES, *FLOAT8])
def test_weights_that_are_no_floats_are_refused(dtype: torch.dtype) -> None:
    weights = {**LAYER, "head.weight": torch.ones(2, 2).to(dtype)}
    message = refusal(check_types, Path("a.pth"), weights, nn.Linear(1, 1))
    assert f"'a.pth' holds head.weight as {str(dtype)[6:]}, but weights are" in message
    assert message.endswith("Give the weights from before they were converted to it.")
    scaled = {**weights, "head.weight_scale": torch.ones(1)}
    assert "by their scales" in refusal(check_types, Path("a.pth"), scaled, nn.Linear(1, 1))


def test_floats_and_what_is_an_integer_in_the_model_are_allowed() -> None:
    weights = {str(dtype): torch.ones(2, 2).to(dtype) for dtype in (torch.half, torch.double)}
    model = nn.Module()
    model.register_buffer("places", torch.arange(3), persistent=False)
    counters = {
        "bn.num_batches_tracked": torch.tensor(3),
        "attn.relative_position_index": torch.ones(2, 2, dtype=torch.int64),
        "block.places": torch.arange(3),
    }
    check_types(Path("a.pth"), weights | counters, model)


def test_a_model_is_not_loaded_from_numbers_that_are_no_weights(tmp_path: Path) -> None:
    state = timm.create_model("test_vit").state_dict()
    state["blocks.1.attn.qkv.weight"] = state["blocks.1.attn.qkv.weight"].to(torch.int8)
    save_file(state, tmp_path / "a.safetensors")
    message = refusal(load_model, "test_vit", weights=tmp_path / "a.safetensors")
    assert "blocks.1.attn.qkv.weight as int8" in message


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_quantised_tensors_of_torch_are_refused(tmp_path: Path) -> None:
    quantised = {"fc": torch.quantize_per_tensor(torch.ones(2, 2), 0.1, 0, torch.qint8)}
    path = torch_file(quantised, tmp_path / "a.pth")
    assert "torch's quantised ones" in refusal(load_model, "test_vit", weights=path)


def test_a_folder_of_timm_holds_no_numbers_that_are_no_weights(tmp_path: Path) -> None:
    config = {"architecture": "test_vit", "num_classes": 3, "pretrained_cfg": {}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    state = timm.create_model("test_vit", num_classes=3).state_dict()
    save_file(state, tmp_path / "model.safetensors")
    load_model(f"local-dir:{tmp_path}")
    save_file({**state, "norm.bias": torch.ones(64).byte()}, tmp_path / "model.safetensors")
    assert "holds norm.bias as uint8" in refusal(load_model, f"local-dir:{tmp_path}")


def jax_arrays(model: nn.Module, root: str = "") -> dict[str, np.ndarray[Any, Any]]:
    """The weights of `test_vit` under the names and in the shapes of JAX's AugReg files."""
    state = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    heads, depth = 2, 6
    out = {
        "cls": state["cls_token"],
        "Transformer/posembed_input/pos_embedding": state["pos_embed"],
        "embedding/kernel": state["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": state["patch_embed.proj.bias"],
        "Transformer/encoder_norm/scale": state["norm.weight"],
        "Transformer/encoder_norm/bias": state["norm.bias"],
        "head/kernel": state["head.weight"].T,
        "head/bias": state["head.bias"],
    }
    width = len(state["norm.bias"])
    for index in range(depth):
        ours, theirs = f"blocks.{index}.", f"Transformer/encoderblock_{index}/"
        for norm, place in (("norm1", 0), ("norm2", 2)):
            out[f"{theirs}LayerNorm_{place}/scale"] = state[f"{ours}{norm}.weight"]
            out[f"{theirs}LayerNorm_{place}/bias"] = state[f"{ours}{norm}.bias"]
        for layer in (0, 1):
            out[f"{theirs}MlpBlock_3/Dense_{layer}/kernel"] = state[
                f"{ours}mlp.fc{layer + 1}.weight"
            ].T
            out[f"{theirs}MlpBlock_3/Dense_{layer}/bias"] = state[f"{ours}mlp.fc{layer + 1}.bias"]
        attention = f"{theirs}MultiHeadDotProductAttention_1/"
        weights = np.split(state[f"{ours}attn.qkv.weight"], 3)
        biases = np.split(state[f"{ours}attn.qkv.bias"], 3)
        for name, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            out[f"{attention}{name}/kernel"] = weight.T.reshape(width, heads, -1)
            out[f"{attention}{name}/bias"] = bias.reshape(heads, -1)
        out[f"{attention}out/kernel"] = state[f"{ours}attn.proj.weight"].T.reshape(heads, -1, width)
        out[f"{attention}out/bias"] = state[f"{ours}attn.proj.bias"]
    return {root + name: array for name, array in out.items()}


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=3)


@pytest.mark.parametrize("root", ["", "opt/target/"])
def test_the_files_of_jax_are_read_by_timm(root: str, vit: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "augreg.npz"
    np.savez(path, **jax_arrays(vit, root))
    loaded = load_model("test_vit", weights=path).model.state_dict()
    assert all(torch.equal(loaded[name], ours) for name, ours in vit.state_dict().items())
    larger = load_model("test_vit", weights=path, image_size=176).model
    assert larger.get_parameter("pos_embed").shape == (1, 1 + 11 * 11, 64)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"head/kernel": None, "head/bias": None}, "no numbers for 2 (head.weight, ...)"),
        ({"Transformer/encoder_norm/scale": None}, "Transformer/encoder_norm/scale"),
        ({"Transformer/encoderblock_6/LayerNorm_0/scale": np.ones(64)}, " it holds "),
        ({"embedding/kernel": np.ones((8, 8, 3, 64), np.float32)}, " it holds "),
        ({"head/bias": np.ones(3, np.int8)}, "holds head/bias as int8"),
        (
            {"Transformer/posembed_input/pos_embedding": np.ones((1, 17, 64), np.float32)},
            "has 17 position embeddings, the model has 101",
        ),
    ],
)
def test_files_of_jax_must_fit_as_well(
    change: dict[str, Any], reason: str, vit: nn.Module, tmp_path: Path
) -> None:
    arrays = {**jax_arrays(vit), **change}
    kept = {name: array for name, array in arrays.items() if array is not None}
    np.savez(tmp_path / "augreg.npz", **kept)
    gc.disable()  # the file is closed at once, not when garbage is collected
    try:
        assert reason in refusal(load_model, "test_vit", weights=tmp_path / "augreg.npz")
        files = [each for each in gc.get_objects() if isinstance(each, NpzFile)]
        assert not [each for each in files if each.zip is not None]
    finally:
        gc.enable()


def test_models_that_timm_reads_no_file_of_jax_for_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", fc=np.ones(3, np.float32))
    message = refusal(load_model, "test_vit_relpos", weights=tmp_path / "a.npz")
    assert "for its VisionTransformer alone, and 'test_vit_relpos' is a" in message
