"""The live display: the progress of all runs, the current pass, the figures of its runs."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Final, TextIO, cast

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...analysis.metrics import MetricInfo, measured_metrics
from ...errors import printable
from ..events import Event, Note, PassAdvanced, RunFailed, RunFinished
from .figures import GAP, run_figures
from .state import ProgressState, State
from .wording import (
    count_parts,
    duration,
    figure,
    left_parts,
    line_of,
    packed,
    pass_parts,
)

_MOST_ROWS: Final = 12
"""Runs that are shown at most, so that lines above the display stay in sight."""
_WIDEST_BAR: Final = 60
_NARROWEST_BAR: Final = 10
_STYLES: Final = {Note: "yellow", RunFailed: "bold red"}
_LOOK_SECONDS: Final = 1.0
"""Least time between two looks at the figures, which may have to wait for a GPU."""


class LiveProgress:
    """Draws on the terminal of `console`; lines about events scroll away above the display.

    While its context is open, lines that other code writes to standard output or error on a
    terminal are printed above the display as well. `clock` returns seconds.
    """

    def __init__(
        self, folder: Path, console: Console, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.folder, self.console = folder, console
        self.tally = ProgressState(clock)
        # the thread that draws reads the counts that events change
        self._lock = Lock()
        self._looked: float | None = None
        self._metric: MetricInfo | None = None
        self._figures: dict[str, str] = {}
        self._exit = ExitStack()
        self._live = Live(
            console=console,
            get_renderable=self.frame,
            transient=True,
            # Rich would also catch a stream that goes to a file: see _written_above
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> LiveProgress:
        """Start to draw. The cursor stays visible, also after the process is killed."""
        self._exit.enter_context(self._live)
        self._exit.enter_context(_written_above(self.console))
        self.console.show_cursor()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the display, and print a line that says how many runs are done and left."""
        self._exit.close()
        if self.tally.states:
            again = " (--force runs these again)" * bool(self.tally.counts()[State.REUSED])
            self._print(", ".join(count_parts(self.tally)) + again, "bold")

    def __call__(self, event: Event) -> None:
        """Count the event and print what the display does not show in a line above it."""
        with self._lock:
            self.tally(event)
        if isinstance(event, PassAdvanced):
            self._look(event)
        if isinstance(event, RunFinished) and self._metric is not None:
            value = event.result.measured.metrics.get(self._metric.name, math.nan)
            with self._lock:
                self._figures[event.result.id] = figure(self._metric, value)
        # the others are in the display while it lasts, and then in the table
        line = line_of(event, self.folder) if isinstance(event, Note | RunFailed) else None
        if line is not None:
            self._print(line, _STYLES[type(event)])

    def _look(self, event: PassAdvanced) -> None:
        now = self.tally.clock()
        if self._looked is not None and now - self._looked < _LOOK_SECONDS:
            return
        # outside the lock: drawing goes on while this waits for a GPU
        (metric,) = measured_metrics([event.metric])
        figures = {run_id: figure(metric, value) for run_id, value in event.values().items()}
        with self._lock:
            self._metric, self._looked = metric, now
            self._figures.update(figures)

    def _print(self, line: str, style: str) -> None:
        self.console.print(Text(line, style), soft_wrap=True)

    def frame(self) -> Group:
        """Return what is drawn now, never higher than the terminal. The drawing thread calls it."""
        width, height = self.console.size
        with self._lock:
            head = [*_head(self.tally, width)]
            if not self.tally.shown:
                return Group(*head)
            rows = min(_MOST_ROWS, height - len(head) - 2)
            so_far = f"{self._metric.in_sentence} so far" if self._metric else ""
            figures = run_figures(self.tally, self._figures, so_far, width, rows)
            return Group(*head, _bar(self.tally, width), figures)


def _head(tally: ProgressState, width: int) -> Iterator[Text]:
    """Yield the title, the counts and how far the pass has come, in lines that fit."""
    if tally.title:
        yield _line(printable(tally.title), "bold")
    counts = count_parts(tally) if tally.states else ["getting ready"]
    for text in packed([*counts, f"after {duration(tally.clock() - tally.began)}"], width):
        yield _line(text)
    if tally.current is not None:
        for text in packed(pass_parts(tally.current), width):
            yield _line(text)
    if tally.timed is not None:
        yield _line(printable(f"measuring the speed of {tally.label(tally.timed.id)}"))


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _bar(tally: ProgressState, width: int) -> Table:
    """Return the bar for all runs with the time left; it moves back and forth until that is known.

    It goes by time, so that it moves between two batches as well.
    """
    share, seconds = tally.share_done(), tally.seconds_left()
    left = "".join(f"about {part}" for part in left_parts(seconds))
    room = width - (len(left) + GAP if left else 0)
    if room < _NARROWEST_BAR:
        room, left = width, ""
    bar = ProgressBar(
        total=None if share is None else 1.0, completed=share or 0.0, width=min(_WIDEST_BAR, room)
    )
    grid = Table.grid(padding=(0, GAP, 0, 0))
    grid.add_row(bar, Text(left, no_wrap=True))
    return grid


@contextmanager
def _written_above(console: Console) -> Iterator[None]:
    """Print above the display what other code writes to standard output and error.

    Only a stream to a terminal is replaced: a table that is sent to a file still goes there.
    """
    originals = sys.stdout, sys.stderr
    replacements = [_replacement(stream, console) for stream in originals]
    sys.stdout, sys.stderr = replacements
    try:
        yield
    finally:
        sys.stdout, sys.stderr = originals
        for stream in replacements:
            if isinstance(stream, _StreamAbove):
                stream.end()


def _replacement(stream: TextIO, console: Console) -> TextIO:
    # None: a process without a console has no standard streams
    if stream is None or not stream.isatty():
        return stream
    return cast(TextIO, _StreamAbove(console, stream))


class _StreamAbove:
    """A stream that prints its whole lines above the display.

    A process forked from this one, such as a data loader's worker, writes straight to the stream:
    there the drawing thread does not exist, but its lock on the console may be held for ever.
    """

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console, self._stream = console, stream
        self._process = os.getpid()
        self._rest = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Print the lines that `text` completes; an unfinished line waits for its end."""
        if os.getpid() != self._process:
            return self._stream.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        if lines:
            self._console.print(Text.from_ansi("\n".join(lines)), soft_wrap=True)
        return len(text)

    def flush(self) -> None:
        """Do nothing: lines are printed as soon as they end."""

    def end(self) -> None:
        """Print the last line if it was left unfinished."""
        if self._rest:
            self.write("\n")
