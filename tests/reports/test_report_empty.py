"""`keeprate report` of stores with no finished run, or a single one: what is said and written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keeprate.cli import keeprate
from keeprate.results.records import Failure
from keeprate.results.store import Store
from results_factory import fill, make_environment, make_run, put

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    Path("a").mkdir()
    fill(tmp_path / "b")
    return lambda *arguments: CliRunner().invoke(keeprate, ["report", *arguments])


def test_a_folder_in_which_all_failed_says_so_and_why(command: Command) -> None:
    failure = Failure(
        run=make_run("tome", 8), error="out of luck", traceback="", environment=make_environment()
    )
    Store("a").write_failure(failure)
    done = command("a")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: No finished run in a. 1 failed: out of luck\n"


def test_a_folder_of_unfinished_runs_says_how_to_go_on(command: Command) -> None:
    rows = Path("a", "partial", "rows.parquet")
    rows.parent.mkdir()
    rows.write_bytes(b"")
    assert command("a").stderr == (
        "Error: No finished run in a. Some are unfinished: the command that began them goes on.\n"
    )


@pytest.mark.parametrize("folders", [("a", "b"), ("b", "a"), ("a", "a")])
def test_nothing_is_compared_with_an_empty_folder(
    folders: tuple[str, str], command: Command
) -> None:
    done = command(folders[0], "--compare", folders[1])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "Error: No finished run in a: there is nothing to compare.\n"
    assert not list(Path().glob("*/changes*"))


@pytest.mark.slow
@pytest.mark.parametrize("keep", [64, 40])
def test_a_single_run_is_told_of_in_every_format(keep: int, command: Command) -> None:
    put(Store("a"), make_run("full" if keep == 64 else "tome", keep, budget=None))
    done = command("a")
    assert done.exit_code == 0, done.output
    text = Path("a/table.md").read_text(encoding="utf-8")
    assert "1 finished run" in text
    assert "over 0 comparisons" not in text
    assert "65 x12" in text if keep == 64 else "65 x4, 41 x8" in text
    names = {path.name for path in Path("a").iterdir()}
    assert {"table.csv", "tables.tex", "appendix.tex", "report.html", "accuracy.pdf"} <= names
