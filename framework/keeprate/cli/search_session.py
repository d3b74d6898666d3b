"""Runs a search for its command: progress, log, Ctrl-C, the table and the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .session import INTERRUPTED

if TYPE_CHECKING:
    from ..evaluation.events import Event, Listener
    from ..search.question import SearchQuestion
    from ..search.search import SearchResult


def search_and_report(question: SearchQuestion, folder: Path, engine: str | None) -> int:
    """Search in the store `folder`, print what was found and write schedule.yaml there.

    Returns the exit status: 0, or 130 if the search was stopped. Raises KeeprateError as `search`
    does.
    """
    from ..evaluation.comparison_runner import RunContext
    from ..evaluation.event_log import LOG, EventLog
    from ..evaluation.events import to_all
    from ..evaluation.interrupts import StopSwitch
    from ..evaluation.progress.plain import progress
    from ..results.store import Store
    from ..search.evaluator import SearchStopped
    from ..search.search import search
    from ..study.build import build_engine

    built_engine, stop = build_engine(engine), StopSwitch()
    try:
        with stop.on_signals(_print), progress(folder) as display:
            listen = _telling_once(to_all([display, EventLog(folder / LOG)]))
            result = search(question, RunContext(Store(folder), built_engine, listen, stop))
    except SearchStopped:
        _print("Stopped. The same command goes on from here.")
        return INTERRUPTED
    _report(question, result, folder)
    return 0


def _report(question: SearchQuestion, result: SearchResult, folder: Path) -> None:
    from ..results.atomic_files import write_together
    from ..search.writing import (
        SCHEDULE_FILE,
        TRIALS_FILE,
        cost_sentence,
        schedule_file,
        table,
        trials_csv,
    )
    from .tables import print_columns, wrapped

    path = folder / SCHEDULE_FILE
    write_together(
        {
            folder / TRIALS_FILE: trials_csv(question, result).encode(),
            path: schedule_file(question, result).text().encode(),
        }
    )
    searched, confirmed = result.images
    title = (
        f"{question.own.method} at {question.budget} of {result.base.title}: {len(result.history)} "
        f"trials on {searched} images, confirmed on {confirmed} others"
    )
    print_columns(title, table(question, result))
    click.echo(wrapped(cost_sentence(result)))
    click.echo(f"Schedule: {path} (--schedule @{path}); all trials: {folder / TRIALS_FILE}")


def _telling_once(listen: Listener) -> Listener:
    """Return a listener that passes each note on once: every round of a search has the same."""
    from ..evaluation.events import Note

    told: set[str] = set()

    def once(event: Event) -> None:
        if not isinstance(event, Note) or event.text not in told:
            listen(event)
        if isinstance(event, Note):
            told.add(event.text)

    return once


def _print(line: str) -> None:
    click.echo(line, err=True)
