"""What every command that runs something does: progress, logs, Ctrl-C, reports, exit status."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from ..evaluation.event_log import LOG
from .options import settings

if TYPE_CHECKING:
    from ..analysis.write import WrittenReports
    from ..evaluation.comparison_runner import StudyOutcome
    from ..request import Request

INTERRUPTED: Final = 130
"""Exit status of what Ctrl-C ended, as a shell gives it."""


def run_and_report(
    requests: Sequence[Request], folder: Path, *, engine: str | None, loggers: Sequence[str]
) -> int:
    """Run everything asked for into the store `folder`, print the table, write the reports.

    `engine` and `loggers` are as they were typed. Returns the exit status: 0, 1 where runs failed
    or were left out, 130 where the study was stopped. Raises KeeprateError before anything is run
    for what is unknown or missing.
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

    chosen = build_engine(engine)
    logged = [lightning_listener(name, folder) for name in loggers]
    stop = StopSwitch()
    with stop.on_signals(_say):
        if not is_first_process():
            execute(requests, Store(folder), chosen, lambda event: None, stop)
            return 0
        with progress(folder) as shown:
            listen = to_all([shown, EventLog(folder / LOG), *logged])
            tally = execute(requests, Store(folder), chosen, listen, stop)
    _report(folder, tally)
    return _status(folder, tally, stopped=stop.is_set)


def _report(folder: Path, tally: StudyOutcome) -> None:
    from ..analysis.write import summarise_folder, write_reports
    from .tables import print_table

    if not (tally.finished or tally.reused):
        return
    summary = summarise_folder(folder)
    print_table(summary)
    print_written(write_reports(folder, summary=summary))


def _status(folder: Path, tally: StudyOutcome, *, stopped: bool) -> int:
    if stopped:
        _say(f"Stopped: {len(tally.left)} left. The same command goes on from here.")
        return INTERRUPTED
    if tally.failed:
        first = f"{shlex.quote(str(folder))} {tally.failed[0]}"
        _say(f"{len(tally.failed)} failed; `keeprate runs show {first}` tells why.")
    for problem in tally.problems:
        _say(f"Left out: {problem}")
    return int(bool(tally.failed or tally.problems))


def _say(line: str) -> None:
    click.echo(line, err=True)


def print_written(written: WrittenReports) -> None:
    """Print the files that reports wrote.

    Raises ClickException, which ends the command with exit status 1, naming the reports that
    failed; with --traceback, what they raised is printed.
    """
    from traceback import print_exception

    for path in written.files:
        click.echo(f"Wrote {path}")
    if not written.failures:
        return
    if settings().traceback:
        for failure in written.failures:
            print_exception(failure.error)
    raise click.ClickException("\n".join(str(failure) for failure in written.failures))
