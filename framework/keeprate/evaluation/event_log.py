"""A log for machines: a file to which each event appends one line with a JSON object."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

from ..results.atomic_files import explained
from ..results.measured import Measured
from ..results.record import to_json
from ..results.records import RunInfo
from .events import (
    ComparisonLeft,
    ComparisonStarted,
    Event,
    Note,
    PassAdvanced,
    PassEnded,
    PassStarted,
    RunFailed,
    RunFinished,
    RunReused,
    SpeedAdvanced,
)

LOG: Final = "log.jsonl"
"""Name of the log in a folder of results."""

_PASS_SECONDS: Final = 5.0
"""Least time between two lines that only say how far a pass has come."""

Fields = dict[str, object]


class EventLog:
    """A listener that appends to the file at `path`; docs/progress.md has its fields.

    Every line is in the file before the next event is handled. When a killed process has left an
    unfinished line, it stays, and the next event begins a new line. `clock` returns seconds.
    """

    def __init__(
        self,
        path: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path, self._now, self._clock = path, now, clock
        self._advanced = clock()
        self._images = 0

    def __call__(self, event: Event) -> None:
        """Append the event. Raises KeeprateError for a file that cannot be written or a full disk.

        While a pass or a measurement of speed advances, one line is written in five seconds.
        """
        if isinstance(event, PassStarted):
            self._images, self._advanced = event.images_before, self._clock()
        if isinstance(event, PassAdvanced):
            self._images += event.images
        if isinstance(event, PassAdvanced | SpeedAdvanced):
            # before the event's figures are asked for, which may have to wait for a GPU
            if self._clock() - self._advanced < _PASS_SECONDS:
                return
            self._advanced = self._clock()
        name, fields = self._describe(event)
        stamp = self._now().isoformat(timespec="milliseconds")
        self._append({"time": stamp, "event": name, **fields})

    def _describe(self, event: Event) -> tuple[str, Fields]:
        """Return the name of an event and its fields."""
        match event:
            case PassAdvanced(_, metric, values):
                return "pass-advanced", {"images_done": self._images, metric: dict(values())}
            case SpeedAdvanced(run_id, share):
                return "speed-advanced", {"id": run_id, "share": share}
            case PassEnded():
                return "pass-ended", {"images_done": self._images}
            case RunReused(run_id, label, source):
                return "run-reused", {"id": run_id, "label": label, "source": source}
            case RunFinished(label, result):
                return "run-finished", _run(result.run, label) | _measured(result.measured)
            case RunFailed(label, failure):
                failed = {"error": failure.error, "traceback": failure.traceback}
                return "run-failed", _run(failure.run, label) | failed
        return _describe_general(event)

    def _append(self, content: Fields) -> None:
        line = json.dumps(to_json(content), allow_nan=False, default=str).encode() + b"\n"
        with explained(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # opened and closed for each line: a process that is killed next loses none
            with self.path.open("ab+") as file:
                file.write(line if _at_line_start(file) else b"\n" + line)


def _describe_general(
    event: Note | ComparisonStarted | ComparisonLeft | PassStarted,
) -> tuple[str, Fields]:
    """Return the name and fields of an event that does not belong to a single run."""
    match event:
        case Note(text):
            return "note", {"text": text}
        case ComparisonStarted(title, labels, images):
            return "comparison-started", {"title": title, "labels": labels, "images": images}
        case ComparisonLeft(title, runs):
            return "comparison-left", {"title": title, "runs": runs}
        case PassStarted(ids, images, images_before):
            fields: Fields = {"ids": ids, "images": images, "images_before": images_before}
            return "pass-started", fields


def _at_line_start(file: BinaryIO) -> bool:
    if not file.seek(0, os.SEEK_END):  # an empty file: nothing to seek back over
        return True
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


def _run(run: RunInfo, label: str) -> Fields:
    return {
        "id": run.id,
        "label": label,
        "method": run.method,
        "parameters": run.parameters,
        "schedule": run.schedule,
        "budget": run.budget,
        "stages": [{"block": stage.block, "keep": stage.keep} for stage in run.stages],
        "backbone": run.backbone.name,
        "data": run.data.title,
        "seed": run.seed,
        "precision": run.precision,
    }


def _measured(measured: Measured) -> Fields:
    macs, throughput = measured.macs, measured.throughput
    return {
        "images": measured.images,
        **measured.metrics,
        "macs": macs.total,
        "macs_overhead": macs.overhead,
        "macs_unpruned": macs.unpruned,
        "tokens": measured.tokens,
        "wall_seconds": measured.wall_seconds,
        "images_per_second": None if throughput is None else throughput.images_per_second,
        "throughput_ratio": None if throughput is None else throughput.ratio,
    }
