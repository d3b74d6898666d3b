"""Weights and data that a store names and that lie elsewhere now are found, or asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from disagreement_factory import error, index_of, show
from keeprate.request import Cost, DataSpec, ModelSpec, RunSpec
from keeprate.results.picture_index import Pictured
from run_factory import request, run

pytestmark = pytest.mark.usefixtures("own_folder", "own_registry")


NAMES = ("n01440764/fish.JPEG", "n03888257/kite.JPEG")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of ViT-Tiny on two images, the images, and the weights: "here"."""
    folder = tmp_path_factory.mktemp("photographs")
    save_weights(folder / "here/vit.safetensors", 0)
    random = np.random.default_rng(0)
    for name in NAMES:
        path = folder / "here/val" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(random.integers(0, 256, (64, 80, 3), dtype=np.uint8)).save(path)
    model = ModelSpec("vit_tiny_patch16_224", folder / "here/vit.safetensors")
    data = DataSpec("imagenet", {"root": str(folder / "here/val")})
    runs = tuple(RunSpec(name, {}, Cost(None, "50%")) for name in ("tome", "random"))
    run(folder / "store", replace(request([], limit=None), model=model, data=data, runs=runs))
    return folder


def save_weights(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), path)


def drawn(photographs: Path, *options: str | Path) -> Sequence[Pictured]:
    done = show(photographs / "store", *options)
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    [group] = index_of(photographs / "store/pictures").groups
    return group.samples


@pytest.mark.slow
def test_weights_are_found_by_file_or_folder(photographs: Path, tmp_path: Path) -> None:
    store = photographs / "store"
    title = "vit_tiny_patch16_224 on imagenet, 2 images, 32-true"
    assert error(store) == (
        f"{title}: The weights of 'vit_tiny_patch16_224', vit.safetensors, are not here: say "
        "where with --weights FILE, or the folder they are in."
    )
    assert len(drawn(photographs, "--weights", photographs / "here")) == 2
    assert len(drawn(photographs, "--weights", photographs / "here/vit.safetensors")) == 2
    save_weights(tmp_path / "vit.safetensors", 1)
    said = error(store, "--weights", tmp_path / "vit.safetensors")
    assert said.startswith(
        f"{title}: 'vit_tiny_patch16_224' with vit.safetensors is not the model of these runs: "
    )
    assert said.endswith("Say where it is with --model and --weights.")


@pytest.mark.slow
def test_data_that_moved_are_found_where_one_says(photographs: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (photographs / "here/val").rename(moved)
    weights = "--weights", photographs / "here"
    try:
        said = error(photographs / "store", *weights)
        assert f"was in '{photographs / 'here/val'}', which is not there" in said
        assert said.endswith("say where it is with --data imagenet:root=PATH.")
        for spec in (f"imagenet:{moved}", f"imagenet:root={moved}"):
            assert len(drawn(photographs, *weights, "--data", spec)) == 2
        Image.new("RGB", (9, 9)).save(moved / NAMES[0].replace("fish", "more"))
        done = show(photographs / "store", *weights, "--data", f"imagenet:{moved}")
        assert done.exit_code == 0, done.output
        assert "is not built as it was run: other samples" in done.stderr
    finally:
        (moved / NAMES[0].replace("fish", "more")).unlink(missing_ok=True)
        moved.rename(photographs / "here/val")


@pytest.mark.slow
def test_a_model_of_transformers_that_moved_is_found(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from huggingface_factory import image_checkpoint

    store, model = tmp_path / "store", image_checkpoint(tmp_path / "model")
    random = np.random.default_rng(0)
    for name in ("a/0.png", "b/1.png", "c/2.png"):
        (tmp_path / "val" / name).parent.mkdir(parents=True)
        pixels = random.integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "val" / name)
    data = DataSpec("image-folder", {"root": str(tmp_path / "val")})
    runs = tuple(RunSpec(name, {}, Cost("2@0")) for name in ("random", "class-attention"))
    asked = replace(request([], limit=None), model=ModelSpec(f"hf:{model}"), data=data, runs=runs)
    run(store, asked)
    model.rename(tmp_path / "moved")
    said = error(store)
    assert "Cannot get the model 'hf:model'" in said
    assert said.endswith(" Say where it is now with --model and --weights.")
    done = show(store, "--model", f"hf:{tmp_path / 'moved'}")
    assert done.exit_code == 0, done.output
    assert "in its rows" not in done.stderr
    assert len(list((store / "pictures").glob("*.png"))) == 3
    image_checkpoint(tmp_path / "other", hidden_size=48)
    assert "is not the model of these runs" in error(store, "--model", f"hf:{tmp_path / 'other'}")
