"""`keeprate report`: what it prints and writes, and how it says what is wrong."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from docs_factory import draw_svg_alone
from keeprate.analysis.run_table import table
from keeprate.analysis.write import findings_of_folder, write_reports
from keeprate.cli import keeprate
from keeprate.cli.tables import _grid, print_table
from keeprate.errors import KeeprateError
from keeprate.plugins.registry import activate, load
from results_factory import fill, make_backbone, make_run, put

PLUGIN = '''
from keeprate import hookimpl
from keeprate.report import Report

class Failing(Report):
    """Always fails."""
    name = "failing"
    def write(self, findings, folder):
        raise ZeroDivisionError("no\\nluck")

class Count(Report):
    """Counts the runs."""
    name = "count"
    def write(self, findings, folder):
        path = folder / "count.txt"
        path.write_text(str(sum(len(group.points) for group in findings.groups)))
        return [path]

@hookimpl
def keeprate_reports():
    return [Failing, Count]
'''

Command = Callable[..., Result]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "runs" / "first")
    (tmp_path / "my_reports.py").write_text(PLUGIN)
    return lambda *arguments: CliRunner().invoke(keeprate, ["report", *arguments])


def test_it_prints_the_table_and_writes_every_report(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_svg_alone(monkeypatch)
    done = command("runs/first")
    assert done.exit_code == 0
    assert done.stderr == ""
    assert "vs unpruned, points [95%]" in done.stdout
    for name in ("table.md", "table.csv", "accuracy.svg", "report.html"):
        assert f"Wrote {Path('runs/first') / name}\n" in done.stdout
        assert Path("runs/first", name).exists()


def test_it_says_who_is_ahead_at_each_budget_unless_groups_are_many(
    command: Command, tmp_path: Path
) -> None:
    store = fill(tmp_path / "runs" / "second", {})
    for keep in (50, 40):
        put(store, make_run("random", keep, budget=f"{keep}%"), accuracy=0.7)
        put(store, make_run("tome", keep, budget=f"{keep}%"), accuracy=0.9)
    said = command("runs/second", "--report", "csv").stdout
    assert said.count(" is ahead with ") == 2
    assert "\nAt 50% tome is ahead with 87.00 % [81.63, 90.97] top-1" in said
    for number in range(5):
        other = make_backbone(f"other{number}", f"0{number}")
        put(store, make_run("tome", 30, backbone=other))
    assert " is ahead with " not in command("runs/second", "--report", "csv").stdout


def test_it_writes_only_what_is_named_where_it_is_told(command: Command) -> None:
    done = command("runs/first", "--report", "csv", "--report", "csv", "--output", "out/here")
    assert done.exit_code == 0
    assert [path.name for path in Path("out/here").iterdir()] == ["table.csv"]
    assert done.stdout.count("Wrote") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("runs/frist",), "No results folder 'runs/frist'. Did you mean 'runs/first'?"),
        (("nowhere/x",), "No results folder 'nowhere/x'. `keeprate compare` makes one."),
        (("my_reports.py",), "my_reports.py is a file, not a folder of results."),
        (("runs",), "No finished run in runs. Did you mean runs/first?"),
        (("runs/first", "--report", "cvs"), "No report 'cvs'. Did you mean 'csv'?"),
        (
            ("runs/first", "--output", "my_reports.py"),
            "Cannot write to my_reports.py: File exists. "
            "A file has the name of the folder: choose another.",
        ),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    arguments: tuple[str, ...], said: str, command: Command
) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert done.stderr == f"Error: {said}\n"


def test_a_folder_without_finished_runs_is_explained(command: Command) -> None:
    Path("empty").mkdir()
    assert command("empty").stderr == "Error: No finished run in empty.\n"
    Path("empty/old-1.json").write_text('{"format_version": 0}')
    assert command("empty").stderr == (
        "Error: No finished run in empty. 1 unreadable: "
        "old-1.json: has format_version 0, this keeprate reads 2 to 3.\n"
    )


def test_problems_are_warnings(command: Command) -> None:
    Path("runs/first/old-1.json").write_text('{"format_version": 0}')
    done = command("runs/first", "--report", "csv")
    assert done.exit_code == 0
    assert done.stderr == "Warning: old-1.json: has format_version 0, this keeprate reads 2 to 3\n"


def test_a_report_that_fails_is_named_and_the_others_are_written(command: Command) -> None:
    reports = [word for name in ("failing", "count", "markdown") for word in ("--report", name)]
    done = command("runs/first", "--plugin", "my_reports.py", *reports)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Report 'failing' of ")
    assert done.stderr.endswith("my_reports.py failed: ZeroDivisionError: no luck\n")
    assert Path("runs/first/count.txt").read_text() == "5"
    assert Path("runs/first/table.md").exists()
    assert done.stdout.count("Wrote") == len(list(Path("runs/first").glob("*.*"))) - 2 * 5


def test_a_failing_report_shows_its_traceback_when_asked(command: Command) -> None:
    arguments = ("--plugin", "my_reports.py", "--report", "failing", "--traceback")
    done = command("runs/first", *arguments)
    assert done.exit_code == 1
    assert 'raise ZeroDivisionError("no' in done.stderr


def test_reports_can_be_written_without_the_command_line(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "my_reports.py").write_text(PLUGIN)
    activate(load([tmp_path / "my_reports.py"]))
    try:
        assert write_reports(tmp_path, ["count"]).files == (tmp_path / "count.txt",)
        written = write_reports(tmp_path, ["failing", "count"])
        assert written.files == (tmp_path / "count.txt",)
        [failure] = written.failures
        assert str(failure).endswith("failed: ZeroDivisionError: no luck")
        with pytest.raises(KeeprateError, match="No report 'cont'"):
            write_reports(tmp_path, ["cont"])
    finally:
        activate(load())


def test_reports_that_a_full_disk_left_unwritten_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object, **__: object) -> None:
        path.write_bytes(b"half of")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fill(tmp_path)
    before = write_reports(tmp_path, ["markdown"]).files[0].read_text()
    monkeypatch.setattr(Path, "write_text", full)
    written = write_reports(tmp_path, ["markdown", "latex"])
    assert written.failure_lines() == [
        f"Reports markdown, latex failed: Cannot write to {tmp_path}: No space left on device. "
        "Free some space there, or choose another folder."
    ]
    assert (tmp_path / "table.md").read_text() == before
    assert not list(tmp_path.glob("*.tex"))


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 400])
def test_the_table_fits_a_terminal_and_wraps_no_figure(width: int, tmp_path: Path) -> None:
    store = fill(tmp_path)
    for pattern in ("I", "I'-S-I"):
        put(store, make_run("zero-tprune", 40, parameters={"pattern": pattern, "iterations": 3}))
    (group,) = findings_of_folder(tmp_path).groups
    console = Console(width=width, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(_grid("title", table(group, 0.95), width))
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= width
    assert sum("43.250" in line and "full" in line for line in lines) == 1
    assert "…" not in captured.get()
    if width == 400:
        assert all(column.heading in captured.get() for column in table(group, 0.95))


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8", "vit é"), ("ascii", "vit ?")])
def test_a_table_away_from_a_terminal_is_whole_in_any_encoding(
    encoding: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fill(tmp_path)
    put(store, make_run("tome", 30, backbone=make_backbone("[red]vit é[/red]", "00")))
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, newline=""))
    print_table(findings_of_folder(tmp_path))
    sys.stdout.flush()
    printed = written.getvalue().decode(encoding)
    assert f"[red]{shown}[/red] on digits" in printed
    assert all(line == line.rstrip() for line in printed.splitlines())
