"""`keeprate macs`: every part of a cost, its share, and mistakes in one line."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result

from keeprate.cli import keeprate
from keeprate.cli.commands.macs import table
from keeprate.reduction.macs import Costs


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keeprate, arguments)


def test_macs_prints_the_parts_with_their_shares_and_what_is_kept() -> None:
    done = run("macs", "deit_small_patch16_224", "--method", "tome", "--schedule", "r=13")
    assert done.exit_code == 0, done.output
    lines = {line.split("  ")[0]: line.split()[-4:] for line in done.output.splitlines()}
    assert lines["attention"] == ["357.664", "7.8%", "163.715", "6.0%"]
    assert lines["model"] == ["4598.882", "100.0%", "2702.701", "99.9%"]
    assert lines["overhead"] == ["0.000", "0.0%", "3.471", "0.1%"]
    assert lines["total"] == ["4598.882", "100.0%", "2706.172", "100.0%"]
    assert lines["of unpruned"][-2:] == ["100.0%", "58.8%"]
    assert "fixed" not in lines
    assert "40@11" in done.output


def test_the_parts_that_macs_shows_sum_to_the_model() -> None:
    """Tables of relative positions, which cost the same for any number of tokens, among them."""
    done = run("macs", "vit_relpos_base_patch16_224")
    figures = {line.split()[0]: line.split()[-2] for line in done.output.splitlines()[1:-1]}
    parts = sum(float(figures[part]) for part in list(figures)[: list(figures).index("model")])
    assert float(figures["fixed"]) > 0
    assert parts == pytest.approx(float(figures["model"]), abs=0.01)


def test_the_columns_of_very_large_costs_stay_apart() -> None:
    costs = Costs(embedding=0, projections=0, attention=10**17, mlp=10**17, head=0)
    lines = table({"unpruned": costs, "zero-tprune": costs})
    assert lines[3].split() == ["attention", *("100000000000.000", "50.0%") * 2]
    assert len({len(line) for line in lines}) == 1


def test_macs_of_a_model_without_an_image_size_to_set_is_one_line() -> None:
    failed = run("macs", "resnet18", "--image-size", "224")
    assert failed.exit_code == 2
    assert failed.stderr == "Error: Model 'resnet18' has no image size to set.\n"


def test_macs_of_an_unknown_model_suggests_a_name() -> None:
    failed = run("macs", "deit_smal_patch16_224")
    assert failed.exit_code == 2
    assert "Did you mean 'deit_small_patch16_224'?" in failed.output


def test_a_size_of_no_whole_number_of_patches_has_no_cost() -> None:
    failed = run("macs", "vit_tiny_patch16_224", "--image-size", "230")
    assert failed.exit_code == 2
    assert failed.stderr == (
        "Error: Image size 230 is not a multiple of the model's patch size 16: use 224 or 240.\n"
    )
