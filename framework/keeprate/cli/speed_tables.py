"""The tables of `keeprate speed`: Markdown for people, every round for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..evaluation.speed import ModelSpeed, SpeedUp
    from ..evaluation.speed_profile import TimeShares
    from ..evaluation.timing import Treatment

_HEADINGS = ("method", "GMACs", "images/s", "speed-up", "MACs promise", "fraction", "floor")
_LATENCY = ("p50, ms", "p95, ms")
_MEMORY = "peak, MiB"


def title(model: str, treatment: Treatment, found: Mapping[str, SpeedUp]) -> str:
    """Return what a table was measured on: a speed without it says nothing."""
    from .._devices import device_name

    parts = [model, device_name(treatment.device), treatment.precision]
    parts += ["compiled"] * treatment.compiled + ["CUDA graphs"] * treatment.graphed
    rounds = len(next(iter(found.values())).reduced.seconds)
    return ", ".join([*parts, f"batches of {treatment.batch_size}, {rounds} rounds"])


def table(found: Mapping[str, SpeedUp]) -> list[str]:
    """Return the lines of a table (Markdown) of what was measured, the unpruned model first.

    Latencies are of single images, and the memory of a GPU: elsewhere these columns are not there.
    A model that does not run has its error in place of figures.
    """
    unpruned = next(iter(found.values())).unpruned
    headings = list(_HEADINGS)
    headings += _LATENCY if unpruned.batch_size == 1 else ()
    headings += [_MEMORY] if unpruned.peak_bytes is not None else []
    rows = [["unpruned", *_error(unpruned, "1", "1", "", "")]]
    for name, speed_up in found.items():
        rows.append([name, *_error(speed_up.reduced, *_ratio_texts(speed_up))])
    return aligned([headings, *(row[: len(headings)] for row in rows)])


def _error(speed: ModelSpeed, *ratios: str) -> list[str]:
    """Return the cells of a row: figures, or the error in the first of them."""
    if speed.error is not None:
        kind, message = type(speed.error).__name__, " ".join(str(speed.error).split())
        return [f"{kind}: {message}"[:100].replace("|", "/"), *[""] * 8]
    cells = [f"{speed.macs / 1e9:.3f}", f"{speed.images_per_second:.1f}", *ratios]
    if speed.batch_size == 1:
        cells += [f"{speed.milliseconds(share):.3f}" for share in (0.5, 0.95)]
    if speed.peak_bytes is not None:
        cells.append(f"{speed.peak_bytes / 2**20:.0f}")
    return cells


def _ratio_texts(speed_up: SpeedUp) -> tuple[str, ...]:
    if speed_up.error is not None:
        return ("",) * 4
    ends = speed_up.fraction_interval()
    interval = f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
    floor = "" if speed_up.floor_ratio is None else f"{speed_up.floor_ratio:.3f}"
    ratio, promised = f"{speed_up.ratio:.3f}", f"{speed_up.promised:.3f}"
    return ratio, promised, f"{speed_up.fraction:.3f}{interval}", floor


def shares_table(shares: Mapping[str, TimeShares]) -> list[str]:
    """Return the lines of a table (Markdown): where the time of each method goes, in per cent."""
    rows = [
        [name, *(f"{part:.1%}" for part in (share.backbone, share.scoring, share.reducing))]
        for name, share in shares.items()
    ]
    return aligned([["method", "backbone", "scoring", "reduction"], *rows])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table (Markdown) whose columns are aligned; the first row heads it."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "| " + " | ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) + " |"
        for row in rows
    ]
    rule = "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
    return [lines[0], rule, *lines[1:]]


def record(found: Mapping[str, SpeedUp], treatment: Treatment) -> dict[str, object]:
    """Return a table for programs: every round, in seconds of a batch."""
    from .._devices import device_name

    plain = next(iter(found.values())).unpruned
    return {
        "device": device_name(treatment.device),
        **asdict(treatment),
        "unpruned": _speed_record(plain),
        "methods": {
            name: {
                "reduced": _speed_record(speed_up.reduced),
                "floor": None if speed_up.floor is None else _speed_record(speed_up.floor),
            }
            for name, speed_up in found.items()
        },
    }


def _speed_record(speed: ModelSpeed) -> dict[str, object]:
    return {**vars(speed), "error": None if speed.error is None else str(speed.error)}
