"""The folder that keeps the results of runs: records, per-image rows, failures, logits."""

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
from .plausibility import refuse_impossible
from .records import FORMAT_VERSION, OLDEST_FORMAT_VERSION, Failure, Result
from .row_schemas import METRIC_TYPES, ROW_SCHEMA

R = TypeVar("R", Result, Failure)

REPORT_SUFFIX: Final = ".report.json"
"""Ending of the JSON files that reports write beside the runs: these are not taken for runs."""


class Store:
    """A folder of finished runs: `<id>.json` and `<id>.parquet` for each.

    Files appear whole or not at all, and the JSON of a run appears last: a run with a JSON is
    finished. `failed/<id>.json` describes a run that failed, `partial/` holds the rows of
    unfinished runs.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def prepare(self) -> None:
        """Make the folder and try to write into it. Raises KeeprateError as `write` does."""
        probe = self.folder / ".writable"
        write_together({probe: b""})
        probe.unlink(missing_ok=True)

    def path_of(self, run_id: str, suffix: str) -> Path:
        """Return the path of a run's file with a suffix such as `.json`; it need not exist."""
        return self.folder / f"{run_id}{suffix}"

    def find(self, run_id: str) -> Result | None:
        """Return the result of a run, None unless it is finished and readable by this version."""
        try:
            return self._load(run_id)
        except (OSError, ValueError):
            return None

    def read(self, run_id: str) -> Result:
        """Return the result of a run. Raises KeeprateError if it is missing or cannot be read."""
        try:
            return self._load(run_id)
        except FileNotFoundError:
            run_ids = (path.stem for path in run_files(self.folder))
            raise unknown_name("run", run_id, run_ids) from None
        except (OSError, ValueError) as error:
            raise KeeprateError(f"{self.path_of(run_id, '.json')}: {error}.") from error

    def results(self) -> tuple[list[Result], list[str]]:
        """Return all readable results, sorted by id, and a line for each file with a problem."""
        results, problems = [], []
        for path in run_files(self.folder):
            try:
                results.append(self._load(path.stem))
            except (OSError, ValueError) as error:
                problems.append(f"{path.name}: {error}")
        return results, problems

    def rows(self, run_id: str, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of a run, or these columns of them; KeeprateError if unreadable."""
        path = self.path_of(run_id, ".parquet")
        try:
            return pl.read_parquet(path, columns=list(columns) if columns else None)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise KeeprateError(f"{path}: {_first_line(error)}") from error

    def write(self, result: Result, rows: pl.DataFrame) -> None:
        """Store a finished run; it replaces an earlier one with the same id.

        Raises ValueError for rows that are not one per image, lack columns of `ROW_SCHEMA`, or have
        others whose type is not one of `METRIC_TYPES`; KeeprateError for a folder that cannot be
        written to.
        """
        if rows.height != result.measured.images:
            raise ValueError(f"{rows.height} rows for {result.measured.images} images")
        others = {name: kind for name, kind in rows.schema.items() if name not in ROW_SCHEMA}
        own = {name: kind for name, kind in rows.schema.items() if name in ROW_SCHEMA}
        if own != dict(ROW_SCHEMA) or not all(kind in METRIC_TYPES for kind in others.values()):
            raise ValueError(f"rows must have the columns {ROW_SCHEMA}, not {rows.schema}")
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        text = result.model_dump_json(indent=2) + "\n"
        # the JSON last: it says that the run is finished
        parts = {".parquet": buffer.getvalue(), ".json": text.encode()}
        write_together({self.path_of(result.id, suffix): part for suffix, part in parts.items()})

    def write_failure(self, failure: Failure) -> None:
        """Store why a run failed. Raises KeeprateError as `write` does."""
        text = failure.model_dump_json(indent=2) + "\n"
        write_together({self._failure_path(failure.id): text.encode()})

    def forget_failure(self, run_id: str) -> None:
        """Remove the record of a run's failure, if there is one."""
        self._failure_path(run_id).unlink(missing_ok=True)

    def failures(self) -> tuple[list[Failure], list[str]]:
        """Return the failures, sorted by id, and a line for each file with a problem."""
        failures, problems = [], []
        for path in sorted(self.folder.glob("failed/*.json")):
            try:
                failures.append(_parse(Failure, path.read_bytes()))
            except (OSError, ValueError) as error:
                problems.append(f"failed/{path.name}: {error}")
        return failures, problems

    def _failure_path(self, run_id: str) -> Path:
        return self.folder / "failed" / f"{run_id}.json"

    def write_logits(self, run_id: str, ids: Sequence[str], logits: NDArray[Any]) -> None:
        """Store logits (N, classes) of N samples beside a run, so that later runs can be compared.

        Raises ValueError unless there is one id per row, KeeprateError as `write` does.
        """
        if logits.ndim != 2 or len(ids) != len(logits):
            raise ValueError(f"{len(ids)} sample ids for logits of shape {logits.shape}")
        names = np.array(list(ids), dtype=np.str_)
        fields = [("sample", names.dtype), ("logits", logits.dtype, (logits.shape[1],))]
        table = np.empty(len(ids), dtype=fields)
        table["sample"], table["logits"] = names, logits
        buffer = io.BytesIO()
        # pickle would run code of whoever wrote the file when it is read
        np.save(buffer, table, allow_pickle=False)
        write_together({self.path_of(run_id, ".npy"): buffer.getvalue()})

    def read_logits(self, run_id: str, ids: Sequence[str] | None = None) -> NDArray[Any]:
        """Return stored logits (N, classes), in the order of `ids`, or as written if None.

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

    def num_classes(self, run_id: str) -> int | None:
        """Return the number of classes of stored logits, None where none can be read."""
        try:
            # only the head of the file is read
            table = np.load(self.path_of(run_id, ".npy"), mmap_mode="r", allow_pickle=False)
            return int(table.dtype["logits"].shape[0])
        except (OSError, ValueError, KeyError, IndexError, EOFError):
            return None

    def _load(self, run_id: str) -> Result:
        """Read a result. Raises OSError, or ValueError that says in one line what is wrong."""
        result = _parse(Result, self.path_of(run_id, ".json").read_bytes())
        # a file that somebody renamed or edited
        if result.id != run_id:
            raise ValueError(f"holds the run {result.id}, not the one it is named after")
        refuse_impossible(result.measured)
        rows = self.path_of(run_id, ".parquet")
        try:
            # the schema alone: reading all rows of all runs would take long
            missing = set(ROW_SCHEMA) - set(pl.read_parquet_schema(rows))
        except FileNotFoundError:
            raise ValueError(f"its rows, {rows.name}, are missing") from None
        except pl.exceptions.PolarsError as error:
            raise ValueError(f"its rows, {rows.name}, are broken: {_first_line(error)}") from error
        if missing:
            raise ValueError(f"its rows, {rows.name}, lack {', '.join(sorted(missing))}")
        return result


def run_files(folder: Path) -> list[Path]:
    """Return the JSON files in `folder` that should be of runs, sorted by name."""
    paths = folder.glob("*.json")
    return sorted(path for path in paths if not path.name.endswith(REPORT_SUFFIX))


def _parse(kind: type[R], data: bytes) -> R:
    """Parse a record. Raises ValueError that says in one line what is wrong."""
    content = from_json(data)
    # first: a record of another version would fail with a message about some field
    version = content.get("format_version") if isinstance(content, dict) else None
    if version not in range(OLDEST_FORMAT_VERSION, FORMAT_VERSION + 1):
        readable = f"{OLDEST_FORMAT_VERSION} to {FORMAT_VERSION}"
        raise ValueError(f"has format_version {version}, this keeprate reads {readable}")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        key_path = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{key_path}: {first['msg']}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
