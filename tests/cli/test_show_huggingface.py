"""`keeprate show` on models of transformers: images are drawn, texts are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from huggingface_factory import image_checkpoint, review_file, text_checkpoint
from keeprate.cli import keeprate


def show(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> Result:
    monkeypatch.chdir(folder)
    return CliRunner().invoke(keeprate, ["show", *arguments, "--method", "tome"])


def test_a_model_of_images_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_checkpoint(tmp_path / "model")
    Image.fromarray(np.zeros((40, 50, 3), dtype=np.uint8)).save(tmp_path / "image.png")
    done = show(monkeypatch, tmp_path, "image.png", "--model", "hf:model", "--schedule", "r=2")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "runs/pictures/image.png").is_file()


def test_texts_have_no_patches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text_checkpoint(tmp_path / "model")
    data = f"text-file:{review_file(tmp_path).name}"
    done = show(monkeypatch, tmp_path, "0", "--model", "hf:model", "--data", data)
    assert done.exit_code == 2
    last = done.stderr.splitlines()[-1]
    assert last == "Error: Model 'hf:model' reads texts: there are no patches to draw."
