"""The columns of rows, one row per image: of finished runs, and of unfinished ones."""

from __future__ import annotations

from typing import Final

import polars as pl

ROW_COLUMNS: Final[dict[str, pl.DataType | type[pl.DataType]]] = {
    "label": pl.Int64,
    "prediction": pl.Int64,
    "top5": pl.List(pl.Int64),
    "confidence": pl.Float64,
    "tokens": pl.List(pl.Int64),
    "macs": pl.Int64,
}
ROW_SCHEMA: Final = pl.Schema({"sample": pl.String, **ROW_COLUMNS})
"""The columns that the rows of every run have, one row per image; see `Store.write`."""
METRIC_TYPES: Final = (pl.Boolean, pl.Float64)
"""The types of the other columns, which are those of metrics."""

PARTIAL_ROW_SCHEMA: Final = pl.Schema(
    {
        "run": pl.String,
        "place": pl.Int64,
        **ROW_COLUMNS,
        "overhead": pl.Int64,
        "seconds": pl.Float64,
    }
)
"""Columns that unfinished rows have beside those of metrics.

`run` is the run's id, `place` the position of the sample in the comparison's samples, `overhead`
the part of `macs` that the method itself spent, and `seconds` the row's share of the time.
"""
