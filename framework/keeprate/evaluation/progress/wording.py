"""What progress says: the same words on a terminal and in plain lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...results.records import Result
from ..events import ComparisonStarted, Event, Note, RunFailed, RunFinished, RunReused
from .state import PassProgress, ProgressState, State


def line_of(event: Event, folder: Path) -> str | None:
    """Tell an event in one line, None for one that is no news by itself.

    `folder` is that of the study's own results. What is no printable character becomes a space.
    """
    match event:
        case Note(text):
            line = f"Note: {text}"
        case ComparisonStarted(title, labels, images):
            line = f"{title}: {_counted(len(labels), 'run')}, {_counted(images, 'image')} each"
        case RunReused(_, label, source):
            line = f"{label}: {_where_from(source, folder)}"
        case RunFinished(label, result):
            line = f"{label}: {_outcome(result)}"
        case RunFailed(label, failure):
            line = f"{label}: FAILED: {failure.error}"
        case _:
            return None
    return printable(line)


def begin_line(current: PassProgress) -> str:
    """Tell that a pass begins."""
    line = f"One pass for {_counted(len(current.ids), 'run')}: {_counted(current.images, 'image')}"
    return f"{line}, {current.done:,} done before" if current.done else line


def pass_parts(current: PassProgress, now: float) -> list[str]:
    """How far a pass has come: images, runs, and as soon as they are known speed and time left."""
    parts = [
        f"{current.done:,} of {_counted(current.images, 'image')}",
        _counted(len(current.ids), "run"),
    ]
    speed, seconds = current.speed.images_per_second, current.seconds_left(now)
    if speed is not None and seconds is not None:
        parts += [f"{speed:,.{0 if speed >= 10 else 1}f} images/s", f"{duration(seconds)} left"]
    return parts


def count_parts(tally: ProgressState) -> list[str]:
    """How many runs are done and left, and those failed and reused where there are any."""
    counts = tally.counts()
    always = (State.DONE, State.LEFT)
    return [
        f"{counts[state]:,} {state.value}" for state in State if counts[state] or state in always
    ]


def packed(parts: Sequence[str], width: int) -> list[str]:
    """Join parts by commas into lines of at most `width` characters, where the parts fit."""
    lines = [""]
    for part in parts:
        joined = f"{lines[-1]}, {part}" if lines[-1] else part
        if len(joined) > width and lines[-1]:
            lines.append(part)
        else:
            lines[-1] = joined
    return lines


def duration(seconds: float) -> str:
    """Spell a time by its two largest units: "2 min 36 s", "1 h 05 min", "3 d 4 h"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 24 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400:,} d {whole % 86400 // 3600} h"


def printable(text: str) -> str:
    """Return `text` as one line, without characters that could steer a terminal."""
    return "".join(each if each.isprintable() else " " for each in text)


def shortened(text: str, width: int) -> str:
    """Cut what is too long for `width` characters in the middle: labels differ at their ends."""
    if len(text) <= width:
        return text
    tail = max(0, width - 3) // 2
    head = max(0, width - 3 - tail)
    return f"{text[:head]}...{text[len(text) - tail :]}"[:width]


def _where_from(source: str, folder: Path) -> str:
    if Path(source) == folder:
        return "finished before, not run again (--force would)"
    return f"reused from {source}"


def _outcome(result: Result) -> str:
    measured = result.measured
    return (
        f"top-1 {measured.top1:.2%}, KL {measured.kl:.4f}, "
        f"{measured.macs.total / 1e9:.4f} GMACs, {measured.wall_seconds:.1f} s"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
