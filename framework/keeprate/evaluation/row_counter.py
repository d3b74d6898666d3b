"""Tells the progress of rows that were computed elsewhere."""

from __future__ import annotations

from collections import Counter

import polars as pl

from ..analysis.metrics import compared_metric
from .events import Listener, PassAdvanced


class RowCounter:
    """Counts the images that rows are of, and sums their values of the default metric by run."""

    def __init__(self, listen: Listener) -> None:
        self._listen, self._metric = listen, compared_metric(None)
        self._sums: Counter[str] = Counter()
        self._images: Counter[str] = Counter()

    def __call__(self, rows: pl.DataFrame) -> None:
        """Count the rows (`PARTIAL_ROW_SCHEMA`) of one part of a task, and tell the listener."""
        # an image without a value has no part in the mean
        values = pl.col(self._metric.column).cast(pl.Float64).fill_nan(None)
        by_run = rows.group_by("run").agg(values.count().alias("images"), values.sum().alias("sum"))
        for run_id, images, total in by_run.iter_rows():
            self._images[run_id] += images
            self._sums[run_id] += total
        self._listen(PassAdvanced(rows["place"].n_unique(), self._metric.name, self._values))

    def _values(self) -> dict[str, float]:
        return {run_id: self._sums[run_id] / n for run_id, n in self._images.items() if n}
