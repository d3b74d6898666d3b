"""What docs/huggingface.md tells people to type works, without a network."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from huggingface_factory import image_checkpoint, photographs
from keeprate.cli import keeprate
from keeprate.plugins.registry import registry
from paths import DOCS

pytestmark = pytest.mark.usefixtures("own_registry")

PAGE = (DOCS / "huggingface.md").read_text(encoding="utf-8")
SMALL = ("--no-throughput", "--accelerator", "cpu", "--workers", "0")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks("python")), "huggingface.md", "exec"), {})
    assert "torch.Size([2, 2]) [15, 13, 11, 9]" in capsys.readouterr().out
    Path("reviews.csv").write_text(blocks("csv")[0])
    image_checkpoint(Path("photos-model"))
    photographs(Path("photos"), ("a", "b", "c"))
    lines = [line for block in blocks("console") for line in block.splitlines()]
    typed = [shlex.split(line)[2:] for line in lines if line.startswith("$ keeprate ")]
    assert len(typed) == 6
    for command in typed:
        done = CliRunner().invoke(keeprate, [*command, *(SMALL if command[0] == "compare" else ())])
        assert done.exit_code == 0, f"{shlex.join(command)}\n{done.output}"


def test_the_page_names_every_family() -> None:
    families = {name for name in registry().backbones if name.startswith("hf-")}
    assert set(re.findall(r"^\| `(hf-\w+)`", PAGE, flags=re.MULTILINE)) == families
