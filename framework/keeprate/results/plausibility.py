"""Whether the figures of a record can be true: none is impossible, and they are those of its rows.

Somebody may have edited a record, or mixed two of them up.
"""

from __future__ import annotations

import math
from typing import Final

import polars as pl

from .measured import Measured

_SHARES: Final = ("top1", "top5", "agreement")
_COLUMNS: Final = {"top1": "correct", "top5": "correct_top5", "agreement": "agrees", "kl": "kl"}
"""The columns of rows that these metrics are means of."""
_TOLERANCE: Final = 1e-6
"""Of a mean, whose last digits depend on the order of the rows."""

REMEDY: Final = "run it again with --force"
ALTERED: Final = f"its figures are not those of its rows: {REMEDY}"


def refuse_impossible(measured: Measured) -> None:
    """Raise ValueError, in one line, for a figure that no run can have; NaN says "not known"."""
    shares = {name: value for name, value in measured.metrics.items() if name in _SHARES}
    for name, value in shares.items():
        if value < 0 or value > 1:
            raise ValueError(f"{name} is {value:.1%}, which no run can have: {REMEDY}")
    speed = measured.throughput
    counts = {
        "macs": measured.macs.total,
        "macs of the method": measured.macs.overhead,
        "seconds": measured.wall_seconds,
        "tokens": min(measured.tokens, default=0.0),
        "images per second": 0.0 if speed is None else speed.images_per_second,
    }
    for name, value in counts.items():
        if value < 0 or not math.isfinite(value):
            raise ValueError(f"{name}: {value:g}, which no run can have: {REMEDY}")


def has_figures_of(measured: Measured, rows: pl.DataFrame) -> bool:
    """Tell whether images, costs and the known metrics are those of the rows."""
    expected = {"macs": measured.macs.total} | {
        column: measured.metrics[name]
        for name, column in _COLUMNS.items()
        if name in measured.metrics
    }
    return rows.height == measured.images and all(
        _is_mean(value, rows[column])
        for column, value in expected.items()
        if column in rows.columns
    )


def _is_mean(value: float, column: pl.Series) -> bool:
    found = column.cast(pl.Float64).drop_nans().mean()
    if not isinstance(found, float) or math.isnan(found):  # no row has a value
        return math.isnan(value)
    return math.isclose(value, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
