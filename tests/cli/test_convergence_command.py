"""`keeprate convergence`: table, figure and maps on the digits, and what it says of mistakes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from keeprate.cli import keeprate
from paths import SHARED

pytestmark = pytest.mark.usefixtures("own_folder", "own_registry")

DATA = SHARED / "data"
WEIGHTS = DATA / "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"
PHOTOGRAPHS = DATA / "imagenet-sample/val"


def convergence(*arguments: str | Path) -> Result:
    return CliRunner().invoke(keeprate, ["convergence", "--data", "digits", *map(str, arguments)])


def error(*arguments: str) -> str:
    done = convergence("0", *arguments)
    assert done.exit_code == 2, done.output
    return done.stderr.removeprefix("Error: ").rstrip()


@pytest.mark.slow
def test_it_writes_table_figure_and_maps() -> None:
    done = convergence("0", "7", "0", "--method", "zero-tprune", "--blocks", "3,1", "--keep", "0.5")
    assert done.exit_code == 0, done.output
    kinds = [f"convergence.{kind}" for kind in ("csv", "md", "svg", "png", "pdf", "html")]
    names = ["maps-test-0000.png", "maps-test-0018.png", *kinds]
    assert done.output.split() == [f"runs/convergence/{name}" for name in names]
    folder = Path("runs/convergence")
    rows = pl.read_csv(folder / "convergence.csv")
    assert rows["image"].unique().sort().to_list() == ["test/0000", "test/0018"]
    assert rows["block"].unique(maintain_order=True).to_list() == [1, 3]
    assert rows["head"].unique(maintain_order=True).to_list() == ["all", "0", "1", "2", "3"]
    assert rows.height == 2 * 2 * 5
    assert set(rows["keep"]) == {32}
    assert rows.columns[5:-1] == ["kl_1_5", "kl_5_10", "kl_10_30", "kl_30_50"]
    assert (rows["kl_1_5"] > rows["kl_30_50"]).all()
    said = (folder / "convergence.md").read_text()
    assert said.startswith("zero-tprune on digits classifier, 2 images\n\n| block |")
    with Image.open(folder / "maps-test-0000.png") as sheet:
        assert sheet.width == 6 * 232 - 8 + 24
    assert (folder / "convergence.svg").read_text().startswith("<svg")
    assert (folder / "convergence.pdf").read_bytes().startswith(b"%PDF")
    html = (folder / "convergence.html").read_text()
    assert "http://" not in html.split("<script")[0]
    assert "vegaEmbed" in html


@pytest.mark.slow
def test_a_schedule_says_where_and_how_many() -> None:
    done = convergence(
        "0", "--method", "zero-tprune", "--schedule", "40@2,20@6", "--iterations", "9,3,3"
    )
    assert done.exit_code == 0, done.output
    rows = pl.read_csv("runs/convergence/convergence.csv")
    assert rows.columns[5:-1] == ["kl_3_9"]
    stages = rows.select("block", "patches", "keep").unique(maintain_order=True).rows()
    assert stages == [(2, 64, 40), (6, 40, 20)]
    assert "1 image\n" in Path("runs/convergence/convergence.md").read_text()


def test_mistakes_are_said_in_one_line() -> None:
    ours = "--method", "zero-tprune"
    assert error("--method", "tome").startswith("Method 'tome' does not iterate: ")
    assert error(*ours, "--iterations", "5") == (
        "iterations must be two or more numbers from 1, ascending."
    )
    assert error(*ours, "--blocks", "12") == (
        "--blocks names block 12, but the model's blocks are 0 to 11."
    )
    assert error(*ours, "--budget", "65%", "--blocks", "1") == (
        "--blocks and --keep are for the unpruned model: leave out --schedule and --budget, whose "
        "stages say where and how many."
    )
    assert error(*ours, "--schedule", "r=3", "--keep", "0.5").startswith("--blocks and --keep are")
    assert "0<x<1" in convergence("0", *ours, "--keep", "1").stderr
    assert "Missing option '--method'" in convergence("0").stderr
    assert not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    not (WEIGHTS.is_file() and PHOTOGRAPHS.is_dir()), reason="the sample photographs are not here"
)
def test_on_photographs_thirty_iterations_are_as_good_as_fifty() -> None:
    images = sorted(PHOTOGRAPHS.glob("*/*.JPEG"))[::250]
    model = ("--model", "vit_tiny_patch16_224", "--weights", WEIGHTS)
    done = convergence(*images, *model, "--method", "zero-tprune:emphasis=none")
    assert done.exit_code == 0, done.output
    rows = pl.read_csv("runs/convergence/convergence.csv")
    together = rows.filter(pl.col("head") == "all").drop("image", "head").group_by("block").mean()
    assert together.height == 12
    assert together["kl_30_50"].max() < 2e-3
    assert (together["kl_1_5"] > together["kl_10_30"]).all()
