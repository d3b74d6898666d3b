"""Tells the progress of rows that were computed elsewhere."""

from __future__ import annotations

from collections import Counter

import polars as pl

from .events import Listener, PassAdvanced


class RowCounter:
    """Counts the images that rows are of, and the right predictions of their runs."""

    def __init__(self, listen: Listener) -> None:
        self._listen = listen
        self._correct: Counter[str] = Counter()
        self._images: Counter[str] = Counter()

    def __call__(self, rows: pl.DataFrame) -> None:
        """Count the rows (`PARTIAL_ROW_SCHEMA`) of one part of a task, and tell the listener."""
        sums = rows.group_by("run").agg(pl.len(), pl.col("correct").sum())
        for run_id, images, correct in sums.iter_rows():
            self._images[run_id] += images
            self._correct[run_id] += correct
        self._listen(PassAdvanced(rows["place"].n_unique(), self._top1))

    def _top1(self) -> dict[str, float]:
        return {run_id: self._correct[run_id] / images for run_id, images in self._images.items()}
