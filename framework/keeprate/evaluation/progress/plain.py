"""Shows the progress of comparisons: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, TextIO

import click

from ..events import Event, Listener, PassAdvanced, PassStarted, SpeedAdvanced
from .state import ProgressState
from .wording import begin_line, count_parts, left_parts, line_of, pass_parts

_PLAIN_SECONDS: Final = 30.0
"""Least time between two lines that only say how far a pass has come."""


class Progress(AbstractContextManager[Listener], Protocol):
    """Shows events while its context is open; on exit the terminal is as it was."""

    def __call__(self, event: Event) -> None:
        """Show an event."""


def progress(folder: Path, stream: TextIO | None = None) -> Progress:
    """Return an object that shows progress on `stream`: live on a terminal, else in plain lines.

    `folder` holds the study's own results. Without a stream, progress is shown on the present
    standard error.
    """
    stream = sys.stderr if stream is None else stream
    if not _is_terminal(stream):
        return PlainProgress(folder, stream)
    # imported only for a terminal: batch jobs start without it
    from rich.console import Console

    from .live import LiveProgress

    return LiveProgress(folder, Console(file=stream, force_terminal=True, highlight=False))


def _is_terminal(stream: TextIO | None) -> bool:
    """Tell whether `stream` is a terminal that can move its cursor; None is a closed stderr."""
    # consoles of Windows set no TERM and can do it
    can_move = os.environ.get("TERM", "") not in ("", "dumb", "unknown") or os.name == "nt"
    return can_move and stream is not None and stream.isatty()


class PlainProgress:
    """Prints one line for each event of interest, and one every 30 seconds during a pass."""

    def __init__(
        self,
        folder: Path,
        stream: TextIO | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.stream = folder, stream
        self.tally = ProgressState(clock)
        self._printed = clock()

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Print how many runs are done and left, if there were any."""
        if self.tally.states:
            self._print(", ".join(count_parts(self.tally)))

    def __call__(self, event: Event) -> None:
        """Print the event's line, if it has one, or how far a pass or the speeds have come."""
        was_timed = self.tally.timed is not None
        self.tally(event)
        line = line_of(event, self.folder)
        if line is not None:
            self._print(line)
        now, current = self.tally.clock(), self.tally.current
        if isinstance(event, PassStarted) and current is not None:
            self._print(begin_line(current))
        elif isinstance(event, SpeedAdvanced) and not was_timed:
            self._print("Measuring speed, one run after another and back")
        elif now - self._printed < _PLAIN_SECONDS:
            return
        elif isinstance(event, PassAdvanced) and current is not None:
            parts = [*pass_parts(current), *left_parts(current.seconds_left(now))]
            self._print(", ".join(parts))
        elif isinstance(event, SpeedAdvanced):
            self._print(f"Measuring speed, {event.share:.0%} done")
        else:
            return
        self._printed = now

    def _print(self, line: str) -> None:
        click.echo(line, file=self.stream, err=True)
