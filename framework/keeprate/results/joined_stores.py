"""Several folders of results read as one store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from .records import Failure, Result
from .store import Store

_Record = TypeVar("_Record", Result, Failure)


class JoinedStores(Store):
    """The runs of several folders, or those of them in `ids`, to read: nothing is written to it.

    Of a run that is in several folders the first one counts. `folder` is the first folder.
    """

    def __init__(self, folders: Sequence[Path], ids: Sequence[str] | None = None) -> None:
        super().__init__(folders[0])
        self._stores = [Store(folder) for folder in folders]
        self._ids = None if ids is None else frozenset(ids)

    def path_of(self, run_id: str, suffix: str) -> Path:
        """Return the path of a run's file in the first folder that has the run."""
        paths = [store.path_of(run_id, ".json") for store in self._stores]
        holder = next((path for path in paths if path.exists()), paths[0])
        return holder.with_name(f"{run_id}{suffix}")

    def results(self) -> tuple[list[Result], list[str]]:
        """Return the results, sorted by id; KeeprateError if one of `ids` cannot be read."""
        if self._ids is not None:
            # a failed run has no result that could be read
            failed = {failure.id for failure in self.failures()[0]}
            return [self.read(run_id) for run_id in sorted(self._ids - failed)], []
        found = [store.results() for store in self._stores]
        return _first_of_each([results for results, _ in found]), _joined([p for _, p in found])

    def failures(self) -> tuple[list[Failure], list[str]]:
        """Return the failures, sorted by id, and a line for each file with a problem."""
        found = [store.failures() for store in self._stores]
        failures = _first_of_each([failures for failures, _ in found])
        if self._ids is not None:
            return [failure for failure in failures if failure.id in self._ids], []
        return failures, _joined([problems for _, problems in found])


def _first_of_each(lists: Sequence[Sequence[_Record]]) -> list[_Record]:
    by_id = {record.id: record for records in reversed(lists) for record in records}
    return [by_id[run_id] for run_id in sorted(by_id)]


def _joined(lists: Sequence[Sequence[str]]) -> list[str]:
    return [line for lines in lists for line in lines]
