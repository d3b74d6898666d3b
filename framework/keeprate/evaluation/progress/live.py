"""The live display: the progress of all runs, the current pass, the figures of its runs."""

from __future__ import annotations

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

from ...analysis.metrics import measured_metrics
from ..events import Event, Note, PassAdvanced, RunFailed, RunReused
from .state import PassProgress, ProgressState, State
from .wording import (
    count_parts,
    duration,
    figure,
    line_of,
    packed,
    pass_parts,
    printable,
    shortened,
)

_MOST_ROWS: Final = 12
"""Runs that are shown at most, so that lines above the display stay in sight."""
_WIDEST_BAR: Final = 60
_FIGURE: Final = len("100.00%")
_GAP: Final = 2
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
            self._print(", ".join(count_parts(self.tally)), "bold")

    def __call__(self, event: Event) -> None:
        """Count the event and print its line, if it has one, above the display."""
        with self._lock:
            self.tally(event)
        if isinstance(event, PassAdvanced):
            self._look(event)
        line = line_of(event, self.folder)
        if line is not None:
            self._print(line, _style(event))

    def _look(self, event: PassAdvanced) -> None:
        now, current = self.tally.clock(), self.tally.current
        if current is None or (self._looked is not None and now - self._looked < _LOOK_SECONDS):
            return
        # outside the lock: drawing goes on while this waits for a GPU
        (metric,) = measured_metrics([event.metric])
        figures = {run_id: figure(metric, value) for run_id, value in event.values().items()}
        with self._lock:
            current.figures, self._looked = figures, now

    def _print(self, line: str, style: str) -> None:
        self.console.print(Text(line, style), soft_wrap=True)

    def frame(self) -> Group:
        """Return what is drawn now, never higher than the terminal. The drawing thread calls it."""
        width, height = self.console.size
        with self._lock:
            head = list(_head(self.tally, width))
            current = self.tally.current
            if current is None:
                return Group(*head)
            rows = min(_MOST_ROWS, height - len(head) - 2)
            return Group(*head, _bar(current, width), _runs(self.tally, current, width, rows))


def _head(tally: ProgressState, width: int) -> Iterator[Text]:
    """Yield the title, the counts and how far the pass has come, in lines that fit."""
    now = tally.clock()
    if tally.title:
        yield _line(printable(tally.title), "bold")
    for text in packed([*count_parts(tally), f"after {duration(now - tally.began)}"], width):
        yield _line(text)
    seconds = tally.seconds_left()
    if seconds is not None:
        yield _line(f"about {duration(seconds)} left for all runs")
    if tally.current is not None:
        for text in packed(pass_parts(tally.current, now), width):
            yield _line(text)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _bar(current: PassProgress, width: int) -> Table:
    """Return a progress bar on a line of its own."""
    bar = ProgressBar(
        total=max(1, current.images), completed=current.done, width=min(_WIDEST_BAR, width)
    )
    grid = Table.grid()
    grid.add_row(bar)
    return grid


def _runs(tally: ProgressState, current: PassProgress, width: int, rows: int) -> Table:
    """Return the runs of the pass and their figures so far, in at most `rows` rows."""
    # the last row says how many runs are not shown
    num_shown = len(current.ids) if len(current.ids) <= rows else max(0, rows - 1)
    label_width = max(1, width - _FIGURE - _GAP)
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=label_width)
    grid.add_column(no_wrap=True, justify="right", width=_FIGURE)
    for run_id in current.ids[:num_shown]:
        label = shortened(printable(tally.label(run_id)), label_width)
        grid.add_row(Text(label), _figure(tally, current, run_id))
    if num_shown < len(current.ids) and rows > 0:
        grid.add_row(Text(f"... and {len(current.ids) - num_shown:,} more", "dim"), "")
    return grid


def _figure(tally: ProgressState, current: PassProgress, run_id: str) -> Text:
    if tally.states.get(run_id) is State.FAILED:
        return Text("failed", "red")
    return Text(current.figures.get(run_id, ""))


def _style(event: Event) -> str:
    styles = {Note: "yellow", RunFailed: "bold red", RunReused: "dim"}
    return styles.get(type(event), "")


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
