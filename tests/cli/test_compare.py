"""`keeprate compare`: true tables, finished runs kept, mistakes told before any work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import polars as pl
import pytest
import torch
from click.testing import CliRunner, Result

from keeprate.cli import keeprate
from keeprate.evaluation import passes as evaluation
from keeprate.results.store import Store


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(keeprate, [str(argument) for argument in arguments])


def compare(runs: Path, *arguments: str) -> Result:
    small = ("--data", "digits", "--limit", "12", "--no-throughput", "--no-pictures")
    return run("compare", *small, "--accelerator", "cpu", "--runs", runs, *arguments)


@pytest.mark.slow
def test_the_embedded_comparison_writes_rows_descriptions_table_and_plot(tmp_path: Path) -> None:
    done = compare(tmp_path, "--method", "tome", "--method", "random", "--budget", "65%")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "digits"
    results, problems = Store(folder).results()
    assert problems == []
    assert sorted(result.run.method for result in results) == ["full", "random", "tome"]
    for result in results:
        assert result.measured.images == 12
        assert result.measured.macs.total <= result.measured.macs.unpruned
        assert result.environment.versions.keys() >= {"torch", "timm", "keeprate", "python"}
    reduced = [result for result in results if result.run.reduces]
    assert all(0.64 < r.measured.macs.total / r.measured.macs.unpruned <= 0.65 for r in reduced)
    assert {path.suffix for path in folder.iterdir()} >= {".md", ".csv", ".svg", ".png", ".parquet"}
    assert "tome" in done.output


@pytest.mark.slow
def test_a_finished_run_is_not_computed_again_unless_forced(tmp_path: Path) -> None:
    arguments = ("--method", "random", "--schedule", "r=2")
    compare(tmp_path, *arguments)
    rows = next((tmp_path / "digits").glob("random-*.parquet"))
    first = rows.stat().st_mtime_ns
    again = compare(tmp_path, *arguments)
    assert "finished before" in again.output
    assert rows.stat().st_mtime_ns == first
    compare(tmp_path, *arguments, "--force")
    assert rows.stat().st_mtime_ns > first


@pytest.mark.slow
def test_same_seed_same_rows_whatever_the_batch(tmp_path: Path) -> None:
    def rows(folder: str, *options: str) -> pl.DataFrame:
        arguments = ("--method", "random", "--schedule", "r=3", *options)
        assert compare(tmp_path / folder, *arguments).exit_code == 0
        found = next((tmp_path / folder / "digits").glob("random-*.parquet"))
        return pl.read_parquet(found)

    exact = pl.exclude(pl.Float64)
    first = rows("a", "--seed", "1")
    again = rows("b", "--seed", "1", "--batch-size", "5", "--workers", "1")
    assert first.select(exact).equals(again.select(exact))
    torch.testing.assert_close(first["kl"].to_torch(), again["kl"].to_torch())
    other = rows("c", "--seed", "2")
    assert float((first["kl"].to_torch() - other["kl"].to_torch()).abs().max()) > 1e-4


def test_a_preset_brings_its_schedule_and_parameters(tmp_path: Path) -> None:
    done = compare(tmp_path, "--method", "zero-tprune", "--schedule", "paper-deit-s")
    assert done.exit_code == 2  # made for 196 patches, these images have 64
    assert "186@0" in done.output


@pytest.mark.sample(6)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "tom"), "Error: --method: No method 'tom'. Did you mean 'tome'?"),
        (("--data", "digit"), "Error: --data: No data set 'digit'. Did you mean 'digits'?"),
        (("--method", "tome:proportional=1"), "No parameter 'proportional' in method 'tome'"),
        (("--budget", "lots"), "'lots' is not a budget"),
        (("--schedule", "r13"), "'r13' is not a schedule"),
        (("--method", "tome", "--budget", "1%"), "out of reach"),
        (("--name", "../elsewhere"), "--name: '../elsewhere' must be one plain folder name."),
        (("--name", ".."), "--name: '..' must be one plain folder name."),
        (("--accelerator", "banana"), "No accelerator 'banana'."),
        (("--method", "zero-tprune:s_removal=nan"), "s_removal must be finite"),
        (("--method", "zero-tprune:tolerance=-1"), "tolerance must be over 0"),
        (("--precision", "bf16"), "No precision 'bf16'. Did you mean"),
        (("--weights", "w.safetensors"), "--model: weights goes with a model's name."),
        (("--model", "vit_tinny_patch16_224"), "Did you mean 'vit_tiny_patch16_224'?"),
        (("--data", "imagenet:nowhere"), "--data: There is no 'nowhere'."),
        (
            ("--data", "imagenet:."),
            "--model: Data set 'imagenet' ships no classifier: name ",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_one_line_with_status_2(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    failed = compare(tmp_path, *arguments)
    assert failed.exit_code == 2
    assert message in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_traceback_is_shown_when_asked_for(tmp_path: Path) -> None:
    failed = compare(tmp_path, "--method", "tom", "--traceback")
    assert failed.exit_code == 2
    assert "Traceback" in failed.stderr


THIRD_PARTY = '''
"""Keep the patch tokens with the longest keys."""
from keeprate import Method, Needs, hookimpl


class KeyNorm(Method):
    """Keep the patch tokens with the longest keys."""

    name = "key-norm"
    needs = Needs.KEYS

    def score(self, tokens, attention, stage):
        return attention.k.norm(dim=-1).mean(dim=1)


@hookimpl
def keeprate_methods():
    return [KeyNorm]
'''


@pytest.mark.slow
def test_a_method_from_one_file_runs_beside_the_built_in_ones(tmp_path: Path) -> None:
    plugin = tmp_path / "key_norm.py"
    plugin.write_text(THIRD_PARTY)
    methods = ("--method", "key-norm", "--method", "tome", "--budget", "65%")
    done = compare(tmp_path / "runs", "--plugin", str(plugin), *methods)
    assert done.exit_code == 0, done.output
    results, _ = Store(tmp_path / "runs" / "digits").results()
    origins = {result.run.method: result.run.method_origin for result in results}
    assert origins["key-norm"] == str(plugin)


@pytest.mark.slow
def test_a_method_whose_code_changed_is_run_again(tmp_path: Path) -> None:
    plugin = tmp_path / "key_norm.py"
    arguments = ("--plugin", str(plugin), "--method", "key-norm", "--budget", "50%")
    for score in ("attention.k.norm(dim=-1)", "-attention.k.norm(dim=-1)"):
        plugin.write_text(THIRD_PARTY.replace("attention.k.norm(dim=-1)", score))
        done = compare(tmp_path / "runs", *arguments)
        assert done.exit_code == 0, done.output
        assert "key-norm keep 50%: finished before" not in done.output
    results, _ = Store(tmp_path / "runs" / "digits").results()
    assert sorted(result.run.method for result in results) == ["full", "key-norm", "key-norm"]
    assert "key-norm source=" in done.output


def test_a_folder_that_cannot_be_written_to_is_refused_before_any_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "run_pass", lambda *arguments: pytest.fail("too late"))
    (tmp_path / "file").write_text("")
    failed = compare(tmp_path / "file", "--method", "random", "--budget", "50%")
    assert failed.exit_code == 2
    assert "Cannot write to" in failed.stderr


NARROW = '''
from keeprate import Method, hookimpl


class Narrow(Method):
    """Forgets the prefix tokens."""

    name = "narrow"

    def score(self, tokens, attention, stage):
        return tokens.size[:, 1:]


@hookimpl
def keeprate_methods():
    return [Narrow]
'''


@pytest.mark.slow
def test_a_failed_run_is_shown_by_the_command_that_is_told(tmp_path: Path) -> None:
    plugin = tmp_path / "narrow.py"
    plugin.write_text(NARROW)
    done = compare(tmp_path, "--plugin", str(plugin), "--method", "narrow", "--budget", "50%")
    assert done.exit_code == 1
    [told] = re.findall(r"1 failed; `keeprate (runs show .*)` tells why\.", done.stderr)
    shown = CliRunner().invoke(keeprate, shlex.split(told))
    assert "prefix tokens included" in shown.output


def test_a_file_of_the_unknown_name_is_pointed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("far_keys.py").touch()
    failed = compare(tmp_path, "--method", "far-keys")
    assert failed.stderr.endswith("There is a file far_keys.py: --plugin far_keys.py loads it.\n")
