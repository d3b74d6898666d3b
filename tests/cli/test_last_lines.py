"""How a comparison ends on the screen: who is ahead, where the report is, what comes next."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from keeprate.analysis.write import findings_of_folder
from keeprate.cli import keeprate, session
from keeprate.cli.tables import link, print_table, wrapped
from keeprate.evaluation.comparison_runner import StudyOutcome
from keeprate_reports.accuracy_plot import AccuracyPlot
from results_factory import fill, make_run, put
from store_factory import fail

pytestmark = pytest.mark.usefixtures("own_folder")


def ended(status: int, *arguments: str) -> str:
    """What `keeprate compare` prints when its runs ended so; nothing is looked up or run."""
    study = SimpleNamespace(name="mine", requests=(), spec=SimpleNamespace(engine=None), loggers=())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("keeprate.cli.commands.compare.specified", lambda *_, **__: study)
        patch.setattr(session, "run_and_report", lambda *_, **__: status)
        done = CliRunner().invoke(keeprate, ["compare", *arguments])
    assert done.exit_code == status, done.output
    return done.stdout


def test_it_names_the_page_once_and_the_other_files_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AccuracyPlot, "kinds", ("svg",))
    store = fill(Path("runs/mine"), {})
    for method, accuracy in (("tome", 0.9), ("random", 0.7)):
        put(store, make_run(method, 40, budget="65%"), accuracy)
    session._report((), store.folder, StudyOutcome(finished=["tome"]))
    *_, ahead, meaning, page, others = capsys.readouterr().out.splitlines()
    assert ahead.startswith("At 65% tome is ahead with ")
    assert meaning.startswith("Distinguishable: ")
    assert page == "Report: runs/mine/report.html"
    assert others.startswith("Beside it in runs/mine: ")
    named = others.partition(": ")[2].split(", ")
    assert {"table.md", "table.csv", "accuracy.svg", "tables.tex"} <= {*named}
    assert all(Path("runs/mine", name).is_file() for name in named)


def test_a_command_for_ones_own_comes_last_unless_something_was_named() -> None:
    step = "Next, your model and images: keeprate compare --model NAME --data image-folder:FOLDER\n"
    assert ended(0) == step
    assert ended(0, "--budget", "50%") == step
    assert ended(0, "--data", "digits") == ""
    assert ended(1) == ended(130) == ""


def test_the_command_names_the_program_as_it_can_be_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [".venv/bin/keeprate"])
    monkeypatch.setenv("PATH", "")
    assert ": .venv/bin/keeprate compare --model" in ended(0)
    monkeypatch.setattr(sys, "argv", ["somewhere/pytest"])
    assert ": keeprate compare --model" in ended(0)


@pytest.mark.parametrize(
    ("left", "line"),
    [
        (["tome"], "Stopped: 1 left. The same command goes on from here.\n"),
        ([], "Stopped: 0 left.\n"),
    ],
)
def test_a_stopped_study_goes_on_only_where_something_is_left(
    left: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert session._status(Path("runs"), StudyOutcome(left=left), stopped=True) == 130
    assert capsys.readouterr().err == line


def test_a_failed_run_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    store = fill(Path("runs/mine"), {})
    put(store, make_run("tome"))
    failed = sorted(fail(store, make_run(method)).id for method in ("random", "dct"))
    print_table(findings_of_folder(store.folder), told=failed[:1])
    assert capsys.readouterr().err == f"Warning: {failed[1]} failed: ValueError: no\n"


def test_a_path_can_be_clicked_and_sentences_break_between_words_on_a_terminal_alone() -> None:
    page, sentence = Path("a b/report.html"), "At 65% tome is ahead with 87.00 %."
    assert (link(page), wrapped(sentence)) == (str(page), sentence)

    class Terminal:
        def isatty(self) -> bool:
            return True

    terminal: Any = Terminal()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", terminal)
        patch.setenv("COLUMNS", "20")
        shown, broken = link(page), wrapped(sentence)
    address = (Path.cwd() / page).as_uri()
    assert address.endswith("/a%20b/report.html")
    assert shown == f"\x1b]8;;{address}\x1b\\a b/report.html\x1b]8;;\x1b\\"
    assert broken == "At 65% tome is ahead\n  with 87.00 %."
