"""What the README tells people to type works, on small settings."""

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

from docs_factory import SMALL, draw_svg_alone
from keeprate.cli import keeprate
from paths import ROOT

pytestmark = pytest.mark.usefixtures("own_registry")

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WNIDS = ("n01440764", "n03888257")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    lines = "".join(blocks("console")).splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands name: weights, photographs, a plugin."""
    place = tmp_path_factory.mktemp("readme")
    save_file(
        timm.create_model("vit_tiny_patch16_224").state_dict(), place / "vit_tiny.safetensors"
    )
    generator = np.random.default_rng(0)
    for wnid in WNIDS:
        (place / "imagenet/val" / wnid).mkdir(parents=True)
        pixels = generator.integers(0, 256, (256, 300, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "imagenet/val" / wnid / "photograph.JPEG")
    plugin = next(block for block in blocks("python") if "key_norm.py" in block)
    (place / "key_norm.py").write_text(plugin)
    (place / "patterns.yaml").write_text(blocks("yaml")[0])
    return place


@pytest.mark.slow
def test_every_keeprate_command_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    draw_svg_alone(monkeypatch)
    typed = [shlex.split(command) for command in commands() if command.startswith("keeprate ")]
    assert len(typed) >= 12
    for command in typed:
        small = [option for name in SMALL if name in command for option in SMALL[name]]
        done = CliRunner().invoke(keeprate, [*command[1:], *small])
        assert done.exit_code == 0, f"{shlex.join(command)}\n{done.output}"
    assert (folder / "runs/patterns/table.md").is_file()


def test_every_make_target_exists() -> None:
    targets = [command.split()[1] for command in commands() if command.startswith("make ")]
    assert targets == ["compare", "test"]
    assert all(re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE) for target in targets)


def test_it_begins_with_a_picture_two_commands_and_the_plot() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    paragraphs = README.split("\n\n")
    shown = [place for place, text in enumerate(paragraphs) if text.startswith("![")]
    commands_at = paragraphs.index("```console\n$ make compare\n$ make test\n```")
    assert shown[0] < commands_at < shown[1] == commands_at + 1
    assert all(len(text.splitlines()) <= 5 for text in paragraphs[: shown[1]])


def test_its_pictures_are_small() -> None:
    files = [ROOT / name for name in re.findall(r"!\[[^\]]*\]\((.*?)\)", README)]
    assert len(files) == 2
    assert sum(path.stat().st_size for path in files) < 300_000


def test_ci_calls_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text(encoding="utf-8")


@pytest.mark.parametrize("target", re.findall(r"\]\(([\w./-]+)\)", README))
def test_every_file_the_readme_links_to_exists(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_as_many_models_are_promised_as_were_proved(page: str) -> None:
    [proved] = re.findall(r"tried: (\d+) proved", (ROOT / "docs/backbones.md").read_text("utf-8"))
    assert f"{proved} models of timm" in (ROOT / page).read_text("utf-8")
