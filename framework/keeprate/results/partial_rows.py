"""Rows of unfinished runs, saved as they are found, so that little is lost when all else is."""

from __future__ import annotations

import io
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from ..engine import RowBatch
from .atomic_files import write_together
from .records import PARTIAL_ROW_SCHEMA

_ROWS, _LOGITS = ".rows.parquet", ".logits.parquet"


class PartialRows:
    """The folder `partial` of a store: a file for each batch of rows, and one for its logits.

    Segments of several processes and of interrupted attempts stand beside each other; what two of
    them have in common counts once. A file that cannot be read counts for nothing.
    """

    def __init__(self, store: Path) -> None:
        self.folder = store / "partial"

    def take(self, row_batch: RowBatch) -> None:
        """Save a batch of rows; it is there whole or not at all.

        Raises KeeprateError for a folder that cannot be written to or is full.
        """
        name = uuid.uuid4().hex
        parts = {self.folder / f"{name}{_ROWS}": _parquet(row_batch.rows)}
        if row_batch.logits is not None:
            parts = {self.folder / f"{name}{_LOGITS}": _parquet(row_batch.logits), **parts}
        write_together(parts)

    def done(self, ids: Collection[str]) -> dict[str, frozenset[int]]:
        """Return the places of the samples that each of the runs has rows of."""
        found: dict[str, set[int]] = {name: set() for name in ids}
        for _, rows in self._row_batches(["run", "place"]):
            for (name,), part in rows.group_by("run"):
                if name in found:
                    found[str(name)].update(part["place"])
        return {name: frozenset(positions) for name, positions in found.items()}

    def rows(self, run_id: str) -> pl.DataFrame:
        """Return all rows of a run, each place once (columns of `PARTIAL_ROW_SCHEMA`)."""
        found = [rows for _, rows in self._row_batches(PARTIAL_ROW_SCHEMA.names(), run_id)]
        return pl.concat([PARTIAL_ROW_SCHEMA.to_frame(), *found]).unique("place", keep="first")

    def logits(self, run_id: str) -> pl.DataFrame:
        """Return the logits of the unpruned run, each place once: columns "place", "logits"."""
        parts = []
        for path, rows in self._row_batches(["run"], run_id):
            if rows.height:
                parts.append(pl.read_parquet(_logits_of(path)))
        return pl.concat(parts).unique("place", keep="first")

    def forget(self, ids: Collection[str]) -> None:
        """Remove the rows of these runs, which begin again."""
        for path, rows in self._row_batches(PARTIAL_ROW_SCHEMA.names()):
            kept = rows.filter(~pl.col("run").is_in(list(ids)))
            if kept.height < rows.height:
                logits = _logits_of(path)
                if kept.height:
                    self.take(RowBatch(kept, pl.read_parquet(logits) if logits.exists() else None))
                self._remove(path)

    def tidy(self, is_over: Collection[str]) -> None:
        """Remove the files of whose rows every run is over."""
        for path, rows in self._row_batches(["run"]):
            if set(rows["run"].unique()) <= set(is_over):
                self._remove(path)
        with suppress(OSError):  # others' files may be there
            self.folder.rmdir()

    def _row_batches(
        self, columns: Sequence[str], run_id: str | None = None
    ) -> Iterator[tuple[Path, pl.DataFrame]]:
        """Yield these columns of every file, of all runs or of one."""
        for path in sorted(self.folder.glob(f"*{_ROWS}")):
            with suppress(OSError, pl.exceptions.PolarsError):
                rows = pl.scan_parquet(path)
                wanted = rows if run_id is None else rows.filter(pl.col("run") == run_id)
                yield path, wanted.select(columns).collect()

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        _logits_of(path).unlink(missing_ok=True)


def _logits_of(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_ROWS) + _LOGITS)


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()
