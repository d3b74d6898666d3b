"""Failures, begun runs and logits for stores that `results_factory` fills."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from keeprate.engine import RowBatch
from keeprate.results.partial_rows import PartialRows
from keeprate.results.records import Failure, Result, RunInfo
from keeprate.results.row_schemas import PARTIAL_ROW_SCHEMA
from keeprate.results.store import Store
from results_factory import make_environment, make_rows


def fail(store: Store, run: RunInfo, error: str = "ValueError: no") -> Failure:
    text = f"Traceback (most recent call last):\n  ...\n{error}\n"
    failure = Failure(run=run, error=error, traceback=text, environment=make_environment())
    store.write_failure(failure)
    return failure


def begin(store: Store, images: int, *runs: RunInfo) -> None:
    """Save rows of the first images of unfinished runs, in one segment."""
    parts = [
        make_rows(run)
        .head(images)
        .with_row_index("place")
        .with_columns(
            pl.col("place").cast(pl.Int64),
            run=pl.lit(run.id),
            overhead=pl.lit(0, pl.Int64),
            seconds=pl.lit(0.1),
        )
        .select(PARTIAL_ROW_SCHEMA.names())
        for run in runs
    ]
    PartialRows(store.folder).take(RowBatch(pl.concat(parts)))


def ids(store: Store) -> list[str]:
    return [result.id for result in store.results()[0]]


def logits(store: Store, result: Result, value: float = 0.0) -> None:
    samples = store.rows(result.id)["sample"].to_list()
    store.write_logits(result.id, samples, np.full((len(samples), 10), value, np.float32))


def contents(folder: Path) -> dict[str, bytes]:
    """What every file holds, but for the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
