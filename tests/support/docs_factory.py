"""Runs a page of the documentation from top to bottom, in a folder with what pages name."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
from click import Command
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_image

from keeprate.cli import keeprate
from keeprate_reports.accuracy_plot import AccuracyPlot
from paths import DOCS

CHANGES = ("limit=2", "accelerator=cpu", "workers=0", "batch_size=2")
SMALL = {
    "compare": [
        *("--limit", "2", "--no-throughput", "--no-pictures", "--accelerator", "cpu"),
        *("--workers", "0"),
    ],
    "search": [
        *("--limit", "40", "--candidates", "2", "--strategy", "monte-carlo"),
        *("--accelerator", "cpu", "--workers", "0"),
    ],
    "run": ["--no-pictures", *(word for change in CHANGES for word in ("--set", change))],
}
NOT_RUN = ("make compare", "make test", "pip install .", "pip install 'keeprate[ray]'")
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_FILE_NAME = re.compile(r"# ([\w-]+\.(?:py|yaml|csv))")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language and text."""

    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """The file that the block is, if its first line names one."""
        found = _FILE_NAME.fullmatch(self.text.split("\n", 1)[0])
        return found[1] if found else None

    @property
    def commands(self) -> list[str]:
        """The commands of a `console` block."""
        if self.language != "console":
            return []
        joined = self.text.replace("\\\n", "")
        return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in its order."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return [Block(*found) for found in _FENCE.findall(text)]


def furnish(folder: Path) -> None:
    """Put into `folder` what pages name: weights, photographs, finished runs."""
    for size in ("tiny", "small"):
        model = timm.create_model(f"vit_{size}_patch16_224")
        family = "vit" if size == "tiny" else "deit"
        save_file(model.state_dict(), folder / f"{family}_{size}.safetensors")
    photograph = Image.fromarray(load_sample_image("flower.jpg"))
    photograph.save(folder / "flower.jpg")
    for wnid in ("n01440764", "n03888257"):
        (folder / "imagenet/val" / wnid).mkdir(parents=True)
        photograph.save(folder / "imagenet/val" / wnid / "photograph.JPEG")
    generator = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(2):
            pixels = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    _finish_runs(folder)


def _finish_runs(folder: Path) -> None:
    methods = ["--method", "tome", "--method", "zero-tprune", "--budget", "65%", "--budget", "50%"]
    runs = ["--data", "digits", "--runs", str(folder / "runs"), "--name", "first"]
    done = CliRunner().invoke(keeprate, ["compare", *methods, *runs, *SMALL["compare"]])
    assert done.exit_code == 0, done.output
    for name in ("before", "after", "digits", "patterns"):
        shutil.copytree(folder / "runs/first", folder / "runs" / name)


def settle(furnished: Path, folder: Path) -> None:
    """Copy a furnished folder; weights, which nothing writes, are linked."""
    shutil.copytree(furnished, folder, dirs_exist_ok=True, copy_function=_copied)


def _copied(source: str, target: str) -> None:
    if source.endswith(".safetensors"):
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def write_files(found: list[Block]) -> None:
    """Write the blocks that are files into the working directory."""
    for block in found:
        if block.file_name is not None:
            Path(block.file_name).write_text(block.text, encoding="utf-8")


def draw_svg_alone(patch: pytest.MonkeyPatch) -> None:
    """Leave out PNG and PDF, which take longest to write; tests of the report have all three."""
    patch.setattr(AccuracyPlot, "kinds", ("svg",))


def run_page(page: str) -> int:
    """Run a page in the working directory and return how many commands and examples it has.

    Blocks that are files are there before anything runs.
    """
    found = blocks(page)
    write_files(found)
    names: dict[str, Any] = {}
    examples = 0
    for block in found:
        if block.language == "python" and block.file_name is None:
            exec(compile(block.text, page, "exec"), names)
            examples += 1
        for command in block.commands:
            run_command(command)
            examples += 1
    return examples


def understand(command: str) -> None:
    """Read one command as it is typed, with all its options, and run nothing."""
    typed = shlex.split(command)
    if typed[0] != "keeprate":
        assert command in NOT_RUN or typed[0] in ("python", "pytest"), command
        return
    for word in typed:
        if word.endswith(".py"):
            Path(word).touch()  # which `keeprate new` writes, where the page does not
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Command, "invoke", lambda self, context: None)  # groups go on to theirs
        said = CliRunner().invoke(keeprate, typed[1:])
    assert said.exit_code == 0, f"{command}\n{said.output}"


def run_command(command: str) -> None:
    """Run one command as it is typed, keeprate's in this process and on two samples."""
    if command in NOT_RUN:
        return
    typed = shlex.split(command)
    if typed[0] != "keeprate":
        run = [sys.executable, *typed[1:]] if typed[0] == "python" else _module(typed)
        done = subprocess.run(run, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return
    small = [option for name in SMALL if name in typed[1:4] for option in SMALL[name]]
    if typed[1] == "run" and not typed[2].endswith(".yaml"):
        small = [*small, "--dry-run"]  # a ready study, with more runs than a test has time for
    said = CliRunner().invoke(keeprate, [*typed[1:], *small])
    assert said.exit_code == 0, f"{command}\n{said.output}"


def _module(typed: list[str]) -> list[str]:
    assert typed[0] == "pytest", f"a page shows a command that no test runs: {shlex.join(typed)}"
    return [sys.executable, "-m", "pytest", "-q", *typed[1:]]
