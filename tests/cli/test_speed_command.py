"""`keeprate speed`: mistakes are told before a model is made, and tables say what they hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from keeprate.backbones.loading import load
from keeprate.cli import keeprate
from keeprate.cli.speed_tables import shares_table, table, title
from keeprate.evaluation.speed import ModelSpeed, SpeedUp
from keeprate.evaluation.speed_profile import TimeShares
from keeprate.evaluation.timing import Treatment

MODEL = "vit_tiny_patch16_224:depth=2"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keeprate, ["speed", MODEL, "--accelerator", "cpu", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "tom"), "No method 'tom'. Did you mean 'tome'?"),
        (("--method", "tome:shedule=1"), "No parameter 'shedule' in method 'tome'."),
        (("--method", "tome", "--budget", "65p"), "'65p' is not a budget."),
        (("--method", "tome", "--precision", "bf16"), "Did you mean 'bf16-true'?"),
        (("--method", "tome", "--accelerator", "gpus"), "Did you mean 'gpu'?"),
        (("--method", "tome", "--batch-size", "0"), "--batch-size 0: 1 to 1,048,576 are possible."),
        (("--method", "tome", "--method", "tome"), "--method: each method can be named once."),
        (("--method", "tome", "--cuda-graph"), "--cuda-graph needs a CUDA device"),
    ],
)
def test_a_mistake_is_told_before_a_model_is_made(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "load_model", lambda *given, **how: pytest.fail("a model was made"))
    failed = run("--budget", "65%", *arguments)
    assert failed.exit_code == 2
    assert failed.stderr.startswith("Error: ")
    assert failed.stderr.count("\n") == 1
    assert message in failed.stderr


def test_a_speed_at_no_cost_and_one_of_a_model_that_is_not_there_are_refused() -> None:
    assert run("--method", "tome").stderr == (
        "Error: Say what the methods may cost: --budget 65%, or --schedule r=13.\n"
    )
    arguments = ["speed", "deit_smal_patch16_224", "--method", "tome", "--budget", "65%"]
    failed = CliRunner().invoke(keeprate, arguments)
    assert "Did you mean 'deit_small_patch16_224'?" in failed.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    failed = run("--method", "tome", "--budget", "65%", "--accelerator", "gpu")
    assert failed.stderr == "Error: --accelerator: there is no CUDA device here.\n"


def test_a_table_for_each_size_of_batch_and_every_round_in_the_file(tmp_path: Path) -> None:
    output = tmp_path / "speed.json"
    options = ["--image-size", "32", "--rounds", "2", "--seconds", "0", "--profile"]
    done = run(
        *("--method", "norm", "--schedule", "keep=0.5@0", "--batch-size", "1,2"),
        *("--output", str(output), *options),
    )
    assert done.exit_code == 0, done.output
    headings = [line for line in done.stdout.splitlines() if line.startswith("| method")]
    single, shares, several, _ = ([cell.strip() for cell in line.split("|")] for line in headings)
    assert single[-3:-1] == ["p50, ms", "p95, ms"]
    assert several[1:-1] == single[1:-3]
    assert shares[1:-1] == ["method", "backbone", "scoring", "reduction"]
    first, second = json.loads(output.read_text())
    assert (first["batch_size"], second["batch_size"]) == (1, 2)
    rounds = [first["unpruned"], *first["methods"]["norm"].values()]
    assert [len(speed["seconds"]) for speed in rounds] == [2, 2, 2]
    assert rounds[1]["macs"] < rounds[0]["macs"]


def test_a_table_shows_what_is_known_and_errors_in_place_of_figures() -> None:
    unpruned = ModelSpeed((2.0,) * 6, 8, 4e9, peak_bytes=2**30)
    reduced = ModelSpeed((1.25,) * 6, 8, 2e9, peak_bytes=2**29)
    broken = ModelSpeed((0.0,) * 6, 8, 0, error=ValueError("no\nsuch | place"))
    found = {
        "fast": SpeedUp(reduced, unpruned, ModelSpeed((1.0,) * 6, 8, 2e9)),
        "broken": SpeedUp(broken, unpruned),
    }
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(found)]
    assert rows[0][-2:] == ["floor", "peak, MiB"]
    assert rows[2] == ["unpruned", "4.000", "4.0", "1", "1", "", "", "1024"]
    fraction = "0.800 [0.800, 0.800]"
    assert rows[3] == ["fast", "2.000", "6.4", "1.600", "2.000", fraction, "2.000", "512"]
    assert rows[4] == ["broken", "ValueError: no such / place", *[""] * 6]
    treatment = Treatment("bf16-true", "cpu", 8, compiled=True, graphed=True)
    told = title("vit", treatment, found).split(", ")
    assert told[2:] == ["bf16-true", "compiled", "CUDA graphs", "batches of 8", "6 rounds"]


def test_shares_of_time_are_in_per_cent() -> None:
    assert shares_table({"tome": TimeShares(0.75, 0, 0.25)})[2].split() == [
        *("|", "tome", "|", "75.0%", "|", "0.0%", "|", "25.0%", "|")
    ]
