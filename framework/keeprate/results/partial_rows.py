"""Save the rows of unfinished runs as they come, so that a crash loses little."""

from __future__ import annotations

import io
import uuid
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from ..engine import RowBatch
from .atomic_files import write_together
from .records import CalibrationInfo, RunInfo
from .row_schemas import PARTIAL_ROW_SCHEMA

_ROWS, _LOGITS = ".rows.parquet", ".logits.parquet"
_CALIBRATION, _RUN = ".calibration.json", ".run.json"


class PartialRows:
    """The folder `partial` of a store: a file for each batch of rows, and one for its logits.

    Batches of several processes and of interrupted attempts lie beside each other; a row that two
    of them have counts once. A file that cannot be read is ignored. Beside them lies what was asked
    of each run, and how its budget was solved, where that was done on images: all its rows are to
    have one schedule.
    """

    def __init__(self, store: Path) -> None:
        self.folder = store / "partial"

    def take(self, row_batch: RowBatch) -> None:
        """Save a batch of rows, whole or not at all.

        Raises KeeprateError for a folder that cannot be written to or is full.
        """
        name = uuid.uuid4().hex
        parts = {self.folder / f"{name}{_ROWS}": _to_parquet(row_batch.rows)}
        if row_batch.logits is not None:
            # rows are the last file: where there are rows, there are their logits
            parts = {self.folder / f"{name}{_LOGITS}": _to_parquet(row_batch.logits), **parts}
        write_together(parts)

    def done(self, ids: Collection[str]) -> dict[str, frozenset[int]]:
        """Return, by run id, the positions of the samples that have rows."""
        positions_by_run: dict[str, set[int]] = {run_id: set() for run_id in ids}
        for _, rows in self._row_batches(["run", "place"]):
            for (run_id,), part in rows.group_by("run"):
                if run_id in positions_by_run:
                    positions_by_run[str(run_id)].update(part["place"])
        return {run_id: frozenset(positions) for run_id, positions in positions_by_run.items()}

    def rows(self, run_id: str) -> pl.DataFrame:
        """Return all rows of a run, each sample once.

        They have the columns of `PARTIAL_ROW_SCHEMA`, and those of metrics that every row has.
        """
        frames = [rows for _, rows in self._row_batches(None, run_id)]
        # the empty frame gives the columns where no file has a row
        every = pl.concat([PARTIAL_ROW_SCHEMA.to_frame(), *frames], how="diagonal")
        rows = every.unique("place", keep="first")
        # rows from before a metric was there have no value of it
        return rows.select(column for column in rows if not column.null_count())

    def logits(self, run_id: str) -> pl.DataFrame:
        """Return the logits of the unpruned run, each sample once: columns "place", "logits"."""
        frames = []
        for path, rows in self._row_batches(["run"], run_id):
            if rows.height:
                frames.append(pl.read_parquet(_logits_path(path)))
        return pl.concat(frames).unique("place", keep="first")

    def calibration(self, run_id: str) -> CalibrationInfo | None:
        """Return how the budget of a run was solved, None if that is not known."""
        try:
            return CalibrationInfo.model_validate_json(self._calibration(run_id).read_bytes())
        except (OSError, ValueError):
            return None

    def keep_calibration(self, run_id: str, found: CalibrationInfo) -> None:
        """Keep how the budget of a run was solved. Raises KeeprateError as `take` does."""
        write_together({self._calibration(run_id): found.model_dump_json().encode()})

    def keep_runs(self, runs: Sequence[RunInfo]) -> None:
        """Keep what was asked for, until the runs are over. Raises KeeprateError as `take` does."""
        texts = {self.folder / f"{run.id}{_RUN}": run.model_dump_json() for run in runs}
        write_together({path: text.encode() for path, text in texts.items()})

    def runs(self) -> dict[str, RunInfo]:
        """Return, by id, what was asked for of the unfinished runs; what is unreadable is not."""
        found = {}
        for path in self.folder.glob(f"*{_RUN}"):
            with suppress(OSError, ValueError):  # another process may be removing the file
                found[path.name.removesuffix(_RUN)] = RunInfo.model_validate_json(path.read_bytes())
        return found

    def _calibration(self, run_id: str) -> Path:
        return self.folder / f"{run_id}{_CALIBRATION}"

    def forget(self, ids: Collection[str]) -> None:
        """Remove the rows of these runs, which then start from the beginning."""
        self._forget_runs(ids)
        for path, rows in self._row_batches(None):
            kept = rows.filter(~pl.col("run").is_in(list(ids)))
            if kept.height < rows.height:
                logits = _logits_path(path)
                if kept.height:  # saved anew before the old file goes, so that no row is lost
                    self.take(RowBatch(kept, pl.read_parquet(logits) if logits.exists() else None))
                self._remove(path)

    def tidy(self, is_over: Collection[str]) -> None:
        """Remove the files in which every run is over."""
        self._forget_runs(is_over)
        for path, rows in self._row_batches(["run"]):
            if set(rows["run"].unique()) <= set(is_over):
                self._remove(path)
        with suppress(OSError):  # the folder may hold files of runs that go on
            self.folder.rmdir()

    def _forget_runs(self, ids: Collection[str]) -> None:
        for run_id in ids:
            self._calibration(run_id).unlink(missing_ok=True)
            (self.folder / f"{run_id}{_RUN}").unlink(missing_ok=True)

    def _row_batches(
        self, columns: Sequence[str] | None, run_id: str | None = None
    ) -> Iterator[tuple[Path, pl.DataFrame]]:
        """Yield the path of each file and these columns, or all, for all runs or for one."""
        for path in sorted(self.folder.glob(f"*{_ROWS}")):
            # another process may be removing the file
            with suppress(OSError, pl.exceptions.PolarsError):
                rows = pl.scan_parquet(path)
                selected = rows if run_id is None else rows.filter(pl.col("run") == run_id)
                yield path, (selected if columns is None else selected.select(columns)).collect()

    def _remove(self, path: Path) -> None:
        path.unlink(missing_ok=True)  # first: rows without their logits would be a mistake
        _logits_path(path).unlink(missing_ok=True)


def _logits_path(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(_ROWS) + _LOGITS)


def _to_parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()
