"""Runs studies for the commands: progress, logs, Ctrl-C, reports and the exit status."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..evaluation.event_log import LOG
from .options import settings
from .printing import echo

if TYPE_CHECKING:
    from ..analysis.write import WrittenReports
    from ..evaluation.comparison_runner import StudyOutcome
    from ..request import Request

INTERRUPTED: Final = 130
"""Exit status of a command that Ctrl-C ended; shells use the same (128 + SIGINT)."""


def run_and_report(
    requests: Sequence[Request], folder: Path, *, engine: str | None, loggers: Sequence[str]
) -> int:
    """Run all requests into the store `folder`, print the table, and write the reports.

    `engine` and `loggers` are as they were typed. Returns the exit status: 0, or 1 if runs failed
    or were left out, or 130 if the study was stopped. Raises KeeprateError, before any run begins,
    for names that are unknown and packages that are missing.
    """
    from ..evaluation.distributed import is_first_process
    from ..evaluation.event_log import EventLog
    from ..evaluation.events import to_all
    from ..evaluation.interrupts import StopSwitch
    from ..evaluation.loggers import lightning_listener
    from ..evaluation.progress.plain import progress
    from ..evaluation.runner import execute
    from ..results.store import Store
    from ..study.build import build_engine

    # made before any run begins, so that a mistake in a name costs nothing
    study_engine = build_engine(engine)
    log_listeners = [lightning_listener(name, folder) for name in loggers]
    stop = StopSwitch()
    with stop.on_signals(_print):
        # Lightning starts the command again for each further device: these print and report nothing
        if not is_first_process():
            execute(requests, Store(folder), study_engine, lambda event: None, stop)
            return 0
        with progress(folder) as display:
            listen = to_all([display, EventLog(folder / LOG), *log_listeners])
            tally = execute(requests, Store(folder), study_engine, listen, stop)
    # who stopped the study waits for nothing else
    drawn = requests if settings().pictures and not stop.is_set else ()
    _report(drawn, folder, tally)
    return _status(folder, tally, stopped=stop.is_set)


def _report(drawn: Sequence[Request], folder: Path, tally: StudyOutcome) -> None:
    """Print the table of a store, draw pictures of the requests `drawn`, and write the reports."""
    from ..analysis.write import findings_of_folder, write_reports
    from .opening import draw_pictures
    from .tables import link, print_table, wrapped

    if not (tally.finished or tally.reused):
        return
    found = findings_of_folder(folder)
    print_table(found, told=tally.failed)
    if draw_pictures(drawn, folder, tally):
        found = findings_of_folder(folder)
    written = write_reports(folder, found=found)
    # a page is what a person opens; the other files are for papers and programs
    pages = [path for path in written.files if path.suffix == ".html"]
    for page in pages:
        click.echo(f"Report: {link(page)}")
    others = [path.name for path in written.files if path not in pages]
    if others:
        echo(wrapped(f"Beside it in {folder}: {', '.join(others)}"))
    _raise_failed(written)


def _status(folder: Path, tally: StudyOutcome, *, stopped: bool) -> int:
    if stopped:
        goes_on = " The same command goes on from here." * bool(tally.runs_left)
        _print(f"Stopped: {tally.runs_left:,} left.{goes_on}")
        return INTERRUPTED
    if tally.failed:
        arguments = f"{shlex.quote(str(folder))} {tally.failed[0]}"
        _print(f"{len(tally.failed)} failed; `keeprate runs show {arguments}` tells why.")
    for problem in tally.problems:
        _print(f"Left out: {problem}")
    return int(bool(tally.failed or tally.problems))


def _print(line: str) -> None:
    echo(line, err=True)


def print_written(written: WrittenReports) -> None:
    """Print the names of the files that reports wrote.

    Raises ClickException, which names the reports that failed and ends the command with exit status
    1. With --traceback, the tracebacks of these reports are printed first.
    """
    for path in written.files:
        echo(f"Wrote {path}")
    _raise_failed(written)


def _raise_failed(written: WrittenReports) -> None:
    from traceback import print_exception

    if not written.failures:
        return
    if settings().traceback:
        for failure in written.failures:
            print_exception(failure.error)
    raise click.ClickException("\n".join(written.failure_lines()))
