"""Weights whose file tells of another preprocessing than the one in use are noted."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from keeprate.backbones.loading.model_input import ModelInput
from keeprate.backbones.loading.stated_input import StatedInput, input_note, stated_inputs
from keeprate.request import DataSpec, InputChanges, ModelSpec, Options, Request
from keeprate.study.build import prepare

HALF, IMAGENET = (0.5, 0.5, 0.5), (0.485, 0.456, 0.406)
USED = ModelInput((32, 32), HALF, HALF, "bicubic", 0.9, "center")
STATED = {"mean": list(IMAGENET), "std": [0.2, 0.2, 0.2], "interpolation": "bilinear"}


def weights(path: Path, **metadata: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_file({"a": torch.zeros(1)}, path, metadata=metadata or None)
    return path


@pytest.mark.parametrize(
    ("stem", "architecture", "mean"),
    [
        ("deit_small_patch16_224-cd65a155", "vit_small_patch16_224", IMAGENET),
        ("my-DeiT-tiny", "vit_tiny_patch16_224", IMAGENET),
        ("vit_small_patch16_224.dino", "vit_small_patch16_224", IMAGENET),
        ("vit_base_patch16_224.augreg_in21k", "deit_base_patch16_224", HALF),
        ("vit_small_patch16_224", "vit_small_patch16_224", None),  # some of this name have either
        ("deit_tiny", "deit_tiny_patch16_224.fb_in1k", None),
        *((stem, "vit_tiny_patch16_224", None) for stem in ("w", "model", "test", "my_vit", "")),
    ],
)
def test_a_name_of_timms_in_the_files_name_is_read(
    stem: str, architecture: str, mean: tuple[float, ...] | None, tmp_path: Path
) -> None:
    found = stated_inputs(tmp_path / f"{stem}.pth", architecture)
    assert [each.fields["mean"] for each in found] == ([] if mean is None else [mean])


def test_metadata_and_files_beside_are_read(tmp_path: Path) -> None:
    texts = {name: json.dumps(value) for name, value in STATED.items()}
    assert stated_inputs(weights(tmp_path / "a/w.safetensors", **texts), "x")[0].fields == STATED
    inner = weights(tmp_path / "b/w.safetensors", pretrained_cfg=json.dumps(STATED))
    assert stated_inputs(inner, "x")[0].fields == STATED

    path = weights(tmp_path / "c/w.safetensors", format="pt")
    path.with_name("config.json").write_text(json.dumps({"pretrained_cfg": STATED}))
    other = {"image_mean": HALF, "image_std": HALF, "resample": 2}
    path.with_name("preprocessor_config.json").write_text(json.dumps(other))
    assert [each.fields["mean"] for each in stated_inputs(path, "x")] == [[*IMAGENET], [*HALF]]
    # of several files the configuration is that of one
    weights(tmp_path / "c/other.safetensors")
    assert stated_inputs(path, "x") == ()


@pytest.mark.parametrize("content", ["", "[1]", '{"mean": "grey", "std": [1], "crop_pct": "a"}'])
def test_what_says_nothing_is_passed_over(content: str, tmp_path: Path) -> None:
    path = weights(tmp_path / "w.safetensors", mean="[0.5", std="half")
    path.with_name("config.json").write_text(content)
    assert stated_inputs(path, "x") == ()


def test_only_another_preprocessing_is_noted() -> None:
    same = {"mean": [0.5005, 0.5, 0.5], "interpolation": "bicubic", "crop_pct": 0.9}
    assert input_note("w.pth", [StatedInput("its metadata", same)], USED) is None
    stated = StatedInput("its metadata", {**same, "std": [0.2, 0.3, 0.4], "crop_pct": 1.0})
    assert input_note("w.pth", [stated], USED) == (
        "By its metadata, 'w.pth' was made for images with std 0.2,0.3,0.4, crop_pct 1.0; used are "
        "std 0.5,0.5,0.5, crop_pct 0.9. If that is wrong, give --std 0.2,0.3,0.4 --crop-pct 1.0."
    )
    assert input_note("w.pth", [stated], replace(USED, std=(0.2, 0.3, 0.4), crop_pct=1.0)) is None


def test_a_comparison_notes_it_and_says_nothing_once_it_is_given(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", num_classes=10)
    file = tmp_path / "deit_tiny.safetensors"
    save_file(model.state_dict(), file)
    used = ModelInput.of(model)
    theirs: dict[str, Any] = {"mean": IMAGENET, "std": (0.229, 0.224, 0.225), "crop_pct": 0.9}
    changes = {name: each for name, each in theirs.items() if getattr(used, name) != each}
    assert changes

    def prepared(**changes: Any) -> Any:
        spec = ModelSpec("test_vit", file, changes=InputChanges(**changes))
        return prepare(Request(spec, DataSpec("digits"), (), Options(limit=1)))

    plain, changed = prepared(), prepared(**changes)
    assert set(plain.input_notes) <= set(plain.notes)
    (note,) = plain.input_notes
    assert "By its name ('deit_tiny' of timm), 'deit_tiny.safetensors'" in note
    assert changed.input_notes == []
    assert changed.prepared.transform == asdict(replace(used, **changes))
    assert (plain.unpruned.info.data.transform_changes, plain.prepared.transform) == (
        {},
        asdict(used),
    )
    assert changed.unpruned.id != plain.unpruned.id
    # what is named although it is the model's own changes nothing
    named = prepared(mean=used.mean, interpolation=used.interpolation)
    assert named.unpruned.id == plain.unpruned.id
