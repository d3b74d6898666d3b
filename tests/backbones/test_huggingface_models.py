"""Classifiers of transformers by name: loaded whole or refused in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from safetensors.torch import load_file, save_file

import keeprate
from huggingface_factory import image_checkpoint, text_checkpoint, transformers
from keeprate import KeeprateError
from keeprate.backbones.loading.huggingface import load_huggingface
from keeprate.backbones.loading.huggingface_processors import image_input
from keeprate.backbones.loading.load import load_model
from keeprate.backbones.loading.loaded import weights_sha256
from keeprate.backbones.lookup import adapt
from keeprate.cli import keeprate as command
from keeprate.data.images import build_transform
from keeprate.reduction import proof
from keeprate.results.weights_origin import WeightsKind

ViT: Callable[..., Any] = transformers.ViTImageProcessor
Bit: Callable[..., Any] = transformers.BitImageProcessor
DeiT: Callable[..., Any] = transformers.DeiTImageProcessor


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_a_folder_is_loaded_with_its_weights(tmp_path: Path) -> None:
    folder = text_checkpoint(tmp_path / "reviews")
    loaded = load_model(f"hf:{folder}")
    own = transformers.BertForSequenceClassification.from_pretrained(folder)
    assert (loaded.name, str(loaded.weights), loaded.folder) == ("hf:reviews", "pretrained", folder)
    assert loaded.weights_sha256 == weights_sha256(own)
    assert not loaded.model.training
    assert proof.identity_error(adapt(loaded.model), adapt(loaded.model).example(2)) == 0
    assert keeprate.reduce(f"hf:{folder}", "tome", "r=2").costs().total > 0


def test_weights_are_float32_however_they_were_saved(tmp_path: Path) -> None:
    folder = text_checkpoint(tmp_path)
    model = transformers.BertForSequenceClassification.from_pretrained(folder)
    model.to(torch.bfloat16).save_pretrained(folder)
    loaded = load_huggingface(f"hf:{folder}")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}


def test_random_weights_need_no_weights_file(tmp_path: Path) -> None:
    folder = image_checkpoint(tmp_path)
    (folder / "model.safetensors").unlink()
    loaded = load_model(f"hf:{folder}", pretrained=False)
    assert loaded.weights.kind is WeightsKind.RANDOM
    assert type(loaded.model).__name__ == "ViTForImageClassification"


def changed_config(folder: Path, **values: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def without_classifier(folder: Path) -> None:
    model = transformers.BertModel.from_pretrained(folder)
    model.save_pretrained(folder)
    changed_config(folder, architectures=["BertForSequenceClassification"])


def with_quantised_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"].to(torch.int8)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def with_pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no configuration": (lambda f: (f / "config.json").unlink(), "holds no config.json"),
    "broken configuration": (
        lambda f: (f / "config.json").write_text("{"),
        "Cannot read the configuration of 'hf:model'",
    ),
    "unknown type": (
        lambda f: changed_config(f, model_type="spoonbill"),
        "Cannot read the configuration of 'hf:model'",
    ),
    "another task": (
        lambda f: changed_config(f, architectures=["BertForMaskedLM"]),
        "'hf:model' is a BertForMaskedLM. What can be loaded are classifiers",
    ),
    "no task": (
        lambda f: changed_config(f, architectures=None),
        "'hf:model' is a model of no class",
    ),
    "no weights": (
        lambda f: (f / "model.safetensors").unlink(),
        "Cannot load the weights of 'hf:model' (model.safetensors in",
    ),
    "pickled weights": (with_pickled_weights, "Cannot load the weights of 'hf:model'"),
    "broken weights": (
        lambda f: (f / "model.safetensors").write_bytes(b"weights"),
        "model.safetensors' is no weights file",
    ),
    "a git-lfs pointer": (
        lambda f: (f / "model.safetensors").write_bytes(b"version https://git-lfs.github.com"),
        "model.safetensors' is a git-lfs pointer",
    ),
    "quantised weights": (with_quantised_weights, "classifier.bias as int8, but weights are"),
    "no classifier": (without_classifier, "lack 2 of a BertForSequenceClassification: classifier"),
    "another width": (
        lambda f: changed_config(f, intermediate_size=48),
        "Cannot load the weights of 'hf:model'",
    ),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_missing_or_does_not_fit_is_said_in_one_line(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    folder = text_checkpoint(tmp_path / "model")
    damage(folder)
    with pytest.raises(KeeprateError) as refused:
        load_model(f"hf:{folder}")
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_name_is_looked_up_on_the_hub_and_in_its_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, asked = text_checkpoint(tmp_path / "model"), []

    def downloaded(repository: str, **options: object) -> str:
        asked.append((repository, options["revision"], options["local_files_only"]))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", downloaded)
    monkeypatch.setattr("keeprate.backbones.loading.huggingface.hub_problem", lambda: "offline")
    loaded = load_model("hf:someone/reviews@v1")
    assert asked == [("someone/reviews", "v1", True)]
    assert loaded.name == "hf:someone/reviews@v1"
    monkeypatch.undo()
    monkeypatch.setattr("keeprate.backbones.loading.huggingface.hub_problem", lambda: "offline")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(KeeprateError, match=r"Cannot get the model 'hf:someone/else': offline"):
        load_model("hf:someone/else")
    with pytest.raises(KeeprateError, match=r"No folder '\./nowhere/at/all'"):
        load_model("hf:./nowhere/at/all")


def test_without_transformers_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(KeeprateError, match=r"pip install 'keeprate\[huggingface\]'"):
        load_model("hf:anything")


ADAPTED = """
import sys
{before}
import timm
from keeprate.backbones.lookup import adapt
from keeprate.plugins.registry import registry
assert adapt(timm.create_model("test_vit")).name == "timm-vit"
print("transformers" in sys.modules, *registry().backbones["hf-bert"].cls.examples())
"""


@pytest.mark.system
@pytest.mark.parametrize("installed", [False, True])
def test_timm_models_are_found_without_transformers(installed: bool) -> None:
    code = ADAPTED.format(before="" if installed else "sys.modules['transformers'] = None")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, *examples = done.stdout.split()
    assert loaded == str(not installed)  # there is the None that stands for a missing package
    assert bool(examples) == installed


def test_settings_of_timm_models_are_refused(tmp_path: Path) -> None:
    folder = image_checkpoint(tmp_path)
    for settings in ({"image_size": 64}, {"num_classes": 4}, {"weights": tmp_path}):
        with pytest.raises(KeeprateError, match="has weights, image size and classes of its own"):
            load_model(f"hf:{folder}", **settings)


def test_macs_are_those_of_the_configuration_and_need_no_weights(tmp_path: Path) -> None:
    text, image = text_checkpoint(tmp_path / "text"), image_checkpoint(tmp_path / "image")
    for folder in (text, image):
        own = keeprate.macs(load_model(f"hf:{folder}").model)
        (folder / "model.safetensors").unlink()
        done = run("macs", f"hf:{folder}", "--method", "tome", "--schedule", "r=1")
        assert done.exit_code == 0, done.output
        total = next(line for line in done.output.splitlines() if line.startswith("total"))
        assert total.split()[1] == f"{own / 1e6:.3f}"
    short = run("macs", f"hf:{text}", "--image-size", "10", "--method", "tome", "--budget", "70%")
    assert short.exit_code == 0, short.output
    assert "8@0,6@1" in short.output
    failed = run("macs", f"hf:{image}", "--image-size", "48")
    assert failed.exit_code == 2
    assert "takes images of 32 x 32 pixels, not 48 x 48" in failed.output


def test_macs_are_those_at_the_size_images_are_prepared_to(tmp_path: Path) -> None:
    processor = Bit(size={"shortest_edge": 24}, crop_size={"height": 16, "width": 16})
    folder = image_checkpoint(tmp_path, "Dinov2", processor)
    model = load_model(f"hf:{folder}").model
    done = run("macs", f"hf:{folder}")
    total = next(line for line in done.output.splitlines() if line.startswith("total"))
    assert total.split()[1] == f"{keeprate.macs(model, 16) / 1e6:.3f}"
    assert keeprate.macs(model, 16) < keeprate.macs(model)


PROCESSORS = {
    "squeezed": ViT(size={"height": 32, "width": 48}),
    "squeezed and cut": DeiT(
        size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}
    ),
    "shorter side": Bit(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}),
    "as it is": ViT(size={"height": 32, "width": 32}, do_normalize=False, resample=3),
}


@pytest.mark.parametrize("processor", PROCESSORS.values(), ids=PROCESSORS.keys())
@pytest.mark.parametrize("size", [(48, 80), (100, 60), (32, 32)], ids=str)
def test_images_are_prepared_as_transformers_prepares_them(
    tmp_path: Path, processor: Any, size: tuple[int, int]
) -> None:
    processor.save_pretrained(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"][0]
    ours = build_transform(image_input(tmp_path))(torch.from_numpy(pixels).permute(2, 0, 1))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


UNSUPPORTED = {
    "no resizing": (ViT(do_resize=False), "do_resize is not set"),
    "no scaling": (ViT(do_rescale=False), "do_rescale is not set"),
    "another scale": (ViT(rescale_factor=1 / 127.5), "rescale_factor is"),
    "Lanczos": (ViT(resample=1), "resample 1 has no counterpart"),
    "padding": (ViT(do_pad=True), "do_pad is set"),
    "many sizes": (ViT(size={"shortest_edge": 32}), "gives images of different sizes"),
    "longest edge": (
        Bit(size={"longest_edge": 32}, crop_size={"height": 32, "width": 32}),
        "cannot be prepared as it asks: size",
    ),
    "cut larger than resized": (
        DeiT(size={"height": 24, "width": 24}, crop_size={"height": 32, "width": 32}),
        "with 32 x 32 pixels cut out",
    ),
    "another processor": (transformers.ConvNextImageProcessor(), "ConvNextImageProcessor is not"),
}


@pytest.mark.parametrize(("processor", "why"), UNSUPPORTED.values(), ids=UNSUPPORTED.keys())
def test_other_preparations_are_refused_by_what_they_ask_for(
    tmp_path: Path, processor: Any, why: str
) -> None:
    processor.save_pretrained(tmp_path)
    with pytest.raises(KeeprateError, match="cannot be prepared as it asks") as refused:
        image_input(tmp_path)
    assert why in str(refused.value)


def test_a_folder_without_a_preprocessor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeeprateError, match=r"holds no preprocessor_config\.json"):
        image_input(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(KeeprateError, match="Cannot read"):
        image_input(tmp_path)
