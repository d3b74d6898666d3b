"""What docs/pictures.md tells people to type works, and its pictures are small."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import timm
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from keeprate.cli import keeprate
from keeprate.method import IterativeMethod, Method
from keeprate.plugins import registry as plugins
from keeprate.reduction.reduced_model import ReducedModel
from paths import DOCS

PAGE = (DOCS / "pictures.md").read_text(encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands name: weights, a photograph, two folders of classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plugins, "_active", [])
    save_file(timm.create_model("vit_tiny_patch16_224").state_dict(), "vit_tiny.safetensors")
    photograph = Image.fromarray(load_sample_image("flower.jpg"))
    photograph.save("flower.jpg")
    for wnid in ("n01440764", "n03888257"):
        (tmp_path / "imagenet/val" / wnid).mkdir(parents=True)
        photograph.save(tmp_path / "imagenet/val" / wnid / "photograph.JPEG")
    return tmp_path


@pytest.mark.slow
def test_every_command_runs(folder: Path) -> None:
    typed = re.findall(r"^\$ keeprate (.*)$", PAGE, flags=re.MULTILINE)
    assert len(typed) >= 6
    for command in typed:
        done = CliRunner().invoke(keeprate, shlex.split(command))
        assert done.exit_code == 0, f"{command}\n{done.output}"
    assert (folder / "runs/pictures/flower.png").is_file()
    assert len(list((folder / "figures").iterdir())) == 2
    told = re.findall(r"^\| `(convergence\.\w+|maps-.*?)`(.*?)\|", PAGE, flags=re.MULTILINE)
    names = {name for name, _ in told} | {
        f"convergence{more}" for more in (".png", ".pdf", ".html")
    }
    files = {path.name for path in (folder / "runs/convergence").iterdir()}
    assert {re.sub(r"^maps-test-\d+", "maps-<image>", name) for name in files} == names


def test_the_python_examples_compare_and_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for example in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(compile(example, "pictures.md", "exec"), {})
    printed = [float(each) for each in capsys.readouterr().out.split()]
    said = [float(each) for each in re.findall(r"(?m)^print\(.*  # (\d\.\d+)", PAGE)]
    assert printed == pytest.approx(said, abs=1e-3)
    with Image.open("block-11.png") as picture:
        assert np.asarray(picture).any()


def test_the_digit_is_drawn_as_it_is_shown(folder: Path) -> None:
    first = re.findall(r"^\$ keeprate (.*)$", PAGE, flags=re.MULTILINE)[0]
    assert CliRunner().invoke(keeprate, shlex.split(first)).exit_code == 0
    with (
        Image.open("runs/pictures/test-0018.png") as new,
        Image.open(DOCS / "show-digit.png") as old,
    ):
        assert new.size == old.size
        differ = (np.asarray(new) != np.asarray(old)).any(axis=-1).mean()
    assert differ < 0.1  # other versions of PyTorch or Pillow may round or write otherwise


@pytest.mark.parametrize("name", re.findall(r"!\[.*?\]\((.*?)\)", PAGE))
def test_the_pictures_of_the_page_are_small(name: str) -> None:
    assert (DOCS / name).stat().st_size < 150_000
    with Image.open(DOCS / name) as picture:
        assert picture.width < 1000


def test_the_seams_that_the_page_names_are_there() -> None:
    assert callable(Method.importance)
    assert {"signals", "combined"} <= set(dir(IterativeMethod))
    assert "watch" in (ReducedModel.__init__.__code__.co_names)
