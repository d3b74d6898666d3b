"""Trying every name: what is proved, refused or failed is told apart, counted and written down."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from keeprate.backbones.timm.vit import TimmViT
from keeprate.cli import keeprate
from keeprate.testing.backbones import page as sweep_table
from keeprate.testing.backbones import sweep
from keeprate.testing.backbones.sweep import KindProof, Trial
from paths import DOCS

NAMES = [
    "vit_tiny_patch16_224",
    "vit_tiny_patch16_384",
    "deit_tiny_distilled_patch16_224",
    "resnet18",
]
PAGE = DOCS / "backbones.md"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "all_names", lambda: NAMES)
    monkeypatch.setattr(sweep, "prove_examples", lambda: iter(()))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keeprate, ["check-backbone", *arguments])


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_every_name_is_tried_and_the_page_says_what_came_of_it(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    result = run("--all", "--write", str(path))
    assert result.exit_code == 0, result.output
    page = path.read_text()
    assert "4 names tried: 3 proved, 1 refused with the reason, 0 failed." in page
    [row] = [line for line in page.splitlines() if line.startswith("| timm-vit | vision_transf")]
    assert row.startswith("| timm-vit | vision_transformer | 2 | 2 | 1 | 0 | ")
    assert row.endswith(" | both | blocks: Block |")
    assert "| timm-vit | deit | 1 | 1 | 1 | 0 | " in page
    assert "| resnet | 1 | " in page
    assert "## Failed" not in page
    assert "3/4 deit_tiny_distilled_patch16_224: timm-vit" in result.output
    assert "Largest model, on shapes alone: " in result.output


@pytest.mark.usefixtures("few")
@pytest.mark.slow
def test_wrong_costs_are_a_failure_of_each_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(TimmViT, "num_patches", lambda self, image_size: 195)
    path = tmp_path / "page.md"
    result = run("--all", "--write", str(path))
    assert result.exit_code == 1
    page = path.read_text()
    assert "0 proved, 1 refused with the reason, 3 failed." in page
    assert "by torch's flop counter" in page.partition("## Failed")[2]


@pytest.mark.usefixtures("few")
@pytest.mark.slow
def test_wrong_numbers_are_a_failure_of_every_name_of_the_kind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def doubled(self: TimmViT, block: int, x: torch.Tensor) -> torch.Tensor:
        return 2 * x

    monkeypatch.setattr("keeprate.reduction.proof.require_proof", lambda backbone: None)
    monkeypatch.setattr(TimmViT, "block_cost", mlp_for_nothing(TimmViT.block_cost))
    monkeypatch.setattr(TimmViT, "feed_forward", doubled)
    path = tmp_path / "page.md"
    result = run("--all", "--write", str(path))
    assert result.exit_code == 1
    failed = path.read_text().partition("## Failed")[2]
    assert "- vit_tiny_patch16_224: every token kept: error" in failed


def mlp_for_nothing(block_cost):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return lambda self, block: replace(block_cost(self, block), mlp_per_token=0)


def test_a_name_timm_cannot_build_is_a_failure() -> None:
    [trial] = sweep.try_names(["vit_of_no_size"])
    assert trial.failure.startswith("cannot be built: ")
    assert sweep_table.outcome(trial, []) == "failed"


def test_a_name_is_proved_only_with_its_kind() -> None:
    trial = Trial("a", "timm.models.x", "X", family="f", kind=("f", "x"))
    right = KindProof("f", ("f", "x"), "a", "X", "Block", 1, (), 0.0)
    other = KindProof("f", ("f", "y"), "a", "X", "Block", 1, (), 0.0)
    wrong = KindProof("f", ("f", "x"), "a", "X", "Block", 1, (), 0.0, failure="broke")
    assert sweep_table.outcome(trial, [other, right]) == "proved"
    assert sweep_table.outcome(trial, [other]) == "failed"
    assert sweep_table.outcome(trial, [wrong]) == "failed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Give a model's name, a plugin FILE.py, or --all"),
        (("--all", "vit_tiny_patch16_224"), "--all goes with --write alone"),
        (("vit_tiny_patch16_224", "--write", "x.md"), "Give a model's name"),
        (("nothing.py",), "No file 'nothing.py'"),
        (("vit_tiny_patch16_223",), "Did you mean 'vit_tiny_patch16_224'"),
        (("resnet18",), "Cannot reduce a model of class timm.models.resnet.ResNet"),
    ],
)
def test_bad_requests_are_refused(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output


@pytest.mark.slow
def test_one_model_is_proved_at_the_size_asked_for() -> None:
    result = run("vit_tiny_patch16_224", "--image-size", "64x96")
    assert result.exit_code == 0, result.output
    assert "12 blocks, 24 patch and 1 prefix tokens" in result.output
    assert "FAIL" not in result.output


@pytest.mark.slow
def test_every_model_timm_knows_is_proved_or_refused_as_the_page_says() -> None:
    trials = list(sweep.try_names(sweep.all_names()))
    proofs = [*sweep.prove_kinds(trials), *sweep.prove_examples()]
    wrong = [p.name for p in proofs if not p.holds] + [t.name for t in trials if t.failure]
    assert not wrong
    written = PAGE.read_text(encoding="utf-8")
    assert sweep_table.totals(trials, proofs) in written
    assert sweep_table.refusals_table(trials) in written
