"""The texts of the progress: they are the same on a terminal and in plain lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...analysis.metrics import MetricInfo, measured_metrics
from ...errors import printable
from ...results.records import Result
from ..events import (
    ComparisonLeft,
    ComparisonStarted,
    Event,
    Note,
    RunFailed,
    RunFinished,
    RunReused,
)
from .state import PassProgress, ProgressState, State


def line_of(event: Event, folder: Path) -> str | None:
    """Return one line that tells an event, or None for an event that is not told by itself.

    `folder` holds the study's own results. Characters that could steer a terminal are escaped.
    """
    match event:
        case Note(text):
            line = f"Note: {text}"
        case ComparisonStarted(title, labels, images):
            each = _plural(images, event.samples.removesuffix("s"))
            line = f"{title}: {_plural(len(labels), 'run')}, {each} each"
        case ComparisonLeft(title):
            line = f"{title}: not begun"
        case RunReused(_, label, source):
            line = f"{label}: {_describe_source(source, folder)}"
        case RunFinished(label, result):
            line = f"{label}: {_describe_result(result)}"
        case RunFailed(label, failure):
            line = f"{label}: FAILED: {failure.error}"
        case _:
            return None
    return printable(" ".join(line.splitlines()))


def begin_line(current: PassProgress) -> str:
    """Return the line that tells the start of a pass."""
    samples = _plural(current.images, current.samples.removesuffix("s"))
    line = f"One pass for {_plural(len(current.ids), 'run')}: {samples}"
    return f"{line}, {current.done:,} done before" if current.done else line


def pass_parts(current: PassProgress) -> list[str]:
    """Return how far a pass has come: images, runs and, once it is known, the speed."""
    parts = [
        f"{current.done:,} of {_plural(current.images, current.samples.removesuffix('s'))}",
        _plural(len(current.ids), "run"),
    ]
    speed = current.speed.images_per_second
    if speed is not None:
        parts.append(f"{speed:,.{0 if speed >= 10 else 1}f} {current.samples}/s")
    return parts


def left_parts(seconds: float | None) -> list[str]:
    """Return the time that is left, nothing while it is not known."""
    return [] if seconds is None else [f"{duration(seconds)} left"]


def count_parts(tally: ProgressState) -> list[str]:
    """Return how many runs are done and left, and how many failed or were reused, if any."""
    counts = tally.counts()
    always_shown = (State.DONE, State.LEFT)
    shown = [
        f"{counts[state]:,} {state.value}"
        for state in State
        if counts[state] or state in always_shown
    ]
    if tally.not_begun:
        shown.append(f"{_plural(len(tally.not_begun), 'comparison')} not begun")
    return shown


def packed(parts: Sequence[str], width: int) -> list[str]:
    """Join parts by commas into lines of at most `width` characters; a longer part stands alone."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(joined) > width and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = joined
    return lines


def duration(seconds: float) -> str:
    """Spell a time in its two largest units: "2 min 36 s", "1 h 05 min", "3 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 24 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600} h"


def shortened(text: str, width: int) -> str:
    """Shorten a text to `width` characters, in the middle: labels differ at their ends."""
    if len(text) <= width:
        return text
    tail = max(0, width - 3) // 2
    head = max(0, width - 3 - tail)
    return f"{text[:head]}...{text[len(text) - tail :]}"[:width]


def _describe_source(source: str, folder: Path) -> str:
    if Path(source) == folder:
        return "finished before, not run again (--force would)"
    return f"reused from {source}"


def _describe_result(result: Result) -> str:
    measured = result.measured
    figures = [
        f"{metric.in_sentence} {figure(metric, measured.metrics[metric.name])}"
        for metric in measured_metrics(measured.metrics)
        if metric.in_brief
    ]
    return (
        f"{', '.join(figures)}, "
        f"{measured.macs.total / 1e9:.4f} GMACs, {measured.wall_seconds:.1f} s"
    )


def figure(metric: MetricInfo, value: float) -> str:
    """Return a figure that is not scaled as text: "69.87%", "0.0824"."""
    return f"{metric.text(metric.scale * value)}{'%' if metric.unit == '%' else ''}"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
