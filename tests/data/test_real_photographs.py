"""On real weights and photographs the comparison gives what is known to hold."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from keeprate.cli import keeprate
from keeprate.results.records import Result
from keeprate.results.store import Store
from paths import SHARED

DATA = SHARED / "data"
WEIGHTS = DATA / "vit_tiny_patch16_224.augreg_in21k_ft_in1k.safetensors"
FOLDER = DATA / "imagenet-sample/val"

pytestmark = pytest.mark.skipif(
    not (WEIGHTS.is_file() and FOLDER.is_dir()), reason="the sample photographs are not here"
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Result]:
    """ViT-Tiny on 80 photographs at 65 % of its cost, by method."""
    runs = tmp_path_factory.mktemp("runs")
    methods = ["--method", "random", "--method", "tome", "--method", "zero-tprune"]
    model = ["--model", "vit_tiny_patch16_224", "--weights", str(WEIGHTS)]
    where = ["--data", f"imagenet:{FOLDER}", "--runs", str(runs), "--name", "photographs"]
    how = ["--budget", "65%", "--limit", "80", "--no-throughput", "--workers", "0"]
    command = ["compare", *model, *where, *methods, *how, "--accelerator", "cpu"]
    done = CliRunner().invoke(keeprate, command)
    assert done.exit_code == 0, done.output
    return {result.run.method: result for result in Store(runs / "photographs").results()[0]}


@pytest.mark.slow
def test_the_unpruned_model_is_as_accurate_as_its_weights(results: dict[str, Result]) -> None:
    assert results["full"].measured.metrics["top1"] > 0.75
    assert results["full"].measured.macs.total == 1_253_683_200


def test_methods_cost_the_same(results: dict[str, Result]) -> None:
    for name in ("random", "tome", "zero-tprune"):
        assert 0.995 * 0.65 <= results[name].measured.macs.total / 1_253_683_200 <= 0.65


@pytest.mark.parametrize("method", ["tome", "zero-tprune"])
def test_random_pruning_is_further_from_the_unpruned_model(
    results: dict[str, Result], method: str
) -> None:
    assert results["random"].measured.metrics["kl"] > results[method].measured.metrics["kl"]
