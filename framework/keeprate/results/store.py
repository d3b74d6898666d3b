"""The folder that keeps what was asked of each run, what came out of it, and its rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError
from pydantic_core import from_json

from ..errors import KeeprateError, unknown_name
from .atomic_files import write_together
from .records import (
    FORMAT_VERSION,
    ROW_SCHEMA,
    Failure,
    Result,
)

R = TypeVar("R", Result, Failure)

REPORT_SUFFIX: Final = ".report.json"
"""How JSON files end that reports write beside the runs, so that they are not taken for runs."""


class Store:
    """A folder of finished runs: `<id>.json` and `<id>.parquet` for each.

    Files appear whole or not at all, and a run's JSON appears last, so that a JSON means finished.
    `failed/<id>.json` tells of a run that failed, `partial/` holds the rows of unfinished ones.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Make the folder and try to write into it. Raises KeeprateError as `write` does."""
        probe = self.folder / ".writable"
        write_together({probe: b""})
        probe.unlink(missing_ok=True)

    def path_of(self, run_id: str, suffix: str) -> Path:
        """The file of a run with a suffix such as `.json`, whether or not it exists."""
        return self.folder / f"{run_id}{suffix}"

    def has(self, run_id: str) -> bool:
        """Whether the run is finished and readable by this version."""
        try:
            self._load(run_id)
        except (OSError, ValueError):
            return False
        return True

    def read(self, run_id: str) -> Result:
        """The result of a run. Raises KeeprateError if it is missing or cannot be read."""
        try:
            return self._load(run_id)
        except FileNotFoundError:
            known = (path.stem for path in run_files(self.folder))
            raise unknown_name("run", run_id, known) from None
        except (OSError, ValueError) as error:
            raise KeeprateError(f"{self.path_of(run_id, '.json')}: {error}.") from error

    def results(self) -> tuple[list[Result], list[str]]:
        """All readable results, by id, and in a line each what is wrong with the other files."""
        found, problems = [], []
        for path in run_files(self.folder):
            try:
                found.append(self._load(path.stem))
            except (OSError, ValueError) as error:
                problems.append(f"{path.name}: {error}")
        return found, problems

    def rows(self, run_id: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """The per-image rows (columns of `ROW_SCHEMA`). Raises KeeprateError if unreadable."""
        path = self.path_of(run_id, ".parquet")
        try:
            return pl.read_parquet(path, columns=list(columns or ROW_SCHEMA))
        except (OSError, pl.exceptions.PolarsError) as error:
            raise KeeprateError(f"{path}: {_first_line(error)}") from error

    def write(self, result: Result, rows: pl.DataFrame) -> None:
        """Store a finished run, replacing what an earlier one with the same id left.

        Raises ValueError for rows that do not have the columns of `ROW_SCHEMA` or are not one per
        image, KeeprateError for a folder that cannot be written to.
        """
        if rows.height != result.measured.images:
            raise ValueError(f"{rows.height} rows for {result.measured.images} images")
        if rows.schema != ROW_SCHEMA:
            raise ValueError(f"rows must have the columns {ROW_SCHEMA}, not {rows.schema}")
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        text = result.model_dump_json(indent=2) + "\n"
        parts = {".parquet": buffer.getvalue(), ".json": text.encode()}
        write_together({self.path_of(result.id, suffix): part for suffix, part in parts.items()})

    def write_failure(self, failure: Failure) -> None:
        """Store why a run failed. Raises KeeprateError as `write` does."""
        text = failure.model_dump_json(indent=2) + "\n"
        write_together({self._failure_path(failure.id): text.encode()})

    def forget_failure(self, run_id: str) -> None:
        """Remove what is stored of a run's failure, if anything is."""
        self._failure_path(run_id).unlink(missing_ok=True)

    def failures(self) -> tuple[list[Failure], list[str]]:
        """The runs that failed, by id, and in a line each what is wrong with other files there."""
        found, problems = [], []
        for path in sorted(self.folder.glob("failed/*.json")):
            try:
                found.append(_parse(Failure, path.read_bytes()))
            except (OSError, ValueError) as error:
                problems.append(f"failed/{path.name}: {error}")
        return found, problems

    def _failure_path(self, run_id: str) -> Path:
        return self.folder / "failed" / f"{run_id}.json"

    def write_logits(self, run_id: str, ids: Sequence[str], logits: NDArray[Any]) -> None:
        """Store logits (N, classes) of N sample ids beside a run, for later runs to compare with.

        Raises ValueError unless there is one id per row, KeeprateError as `write` does.
        """
        if logits.ndim != 2 or len(ids) != len(logits):
            raise ValueError(f"{len(ids)} sample ids for logits of shape {logits.shape}")
        names = np.array(list(ids), dtype=np.str_)
        fields = [("sample", names.dtype), ("logits", logits.dtype, (logits.shape[1],))]
        table = np.empty(len(ids), dtype=fields)
        table["sample"], table["logits"] = names, logits
        buffer = io.BytesIO()
        np.save(buffer, table, allow_pickle=False)
        write_together({self.path_of(run_id, ".npy"): buffer.getvalue()})

    def read_logits(self, run_id: str, ids: Sequence[str] | None = None) -> NDArray[Any]:
        """Stored logits (N, classes), in the order of `ids`, or as they were written without.

        Raises KeeprateError if they are missing, unreadable, or lack one of the ids.
        """
        path = self.path_of(run_id, ".npy")
        try:
            table = np.load(path, allow_pickle=False)
            logits: NDArray[Any] = table["logits"]
            if ids is None:
                return logits
            row_of = {str(name): row for row, name in enumerate(table["sample"])}
            return logits[[row_of[name] for name in ids]]
        except KeyError as error:
            raise KeeprateError(f"{path}: no logits of sample {error}.") from error
        except (OSError, ValueError, IndexError, EOFError) as error:
            raise KeeprateError(f"{path}: {_first_line(error)}") from error

    def _load(self, run_id: str) -> Result:
        """Raises OSError, or ValueError saying in one line what is wrong."""
        result = _parse(Result, self.path_of(run_id, ".json").read_bytes())
        if result.id != run_id:
            raise ValueError(f"holds the run {result.id}, not the one it is named after")
        rows = self.path_of(run_id, ".parquet")
        if not rows.is_file():
            raise ValueError(f"its rows, {rows.name}, are missing")
        try:
            missing = set(ROW_SCHEMA) - set(pl.read_parquet_schema(rows))
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"its rows, {rows.name}, are broken: {_first_line(error)}") from error
        if missing:
            raise ValueError(f"its rows, {rows.name}, lack {', '.join(sorted(missing))}")
        return result


def run_files(folder: Path) -> list[Path]:
    """The JSON files in `folder` that should be of runs, by name."""
    found = folder.glob("*.json")
    return sorted(path for path in found if not path.name.endswith(REPORT_SUFFIX))


def _parse(kind: type[R], data: bytes) -> R:
    """Raises ValueError saying in one line what is wrong."""
    content = from_json(data)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(f"has format_version {version}, this keeprate reads {FORMAT_VERSION}")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key_path = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{key_path}: {first['msg']}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
