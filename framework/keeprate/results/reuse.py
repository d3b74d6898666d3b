"""Find finished runs in the store itself or in a store beside it, and take them over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from ..errors import KeeprateError
from .records import Result, RunInfo
from .store import Store


@dataclass(frozen=True)
class StoredRun:
    """A finished run and the store that holds it; with the logits (N, K) that were asked for."""

    source: Store
    result: Result
    logits: NDArray[Any] | None = None


def find(store: Store, run_id: str, ids: Sequence[str] | None = None) -> StoredRun | None:
    """Return the finished run, None if there is none.

    The store itself is searched, then the stores in the folders beside it. Every file is read at
    most once. `ids` are the samples whose logits are needed: a run that has no logits for them does
    not count as finished.
    """
    for source in _stores(store):
        result = source.find(run_id)
        if result is None:
            continue
        if ids is None:
            return StoredRun(source, result)
        try:
            return StoredRun(source, result, source.read_logits(run_id, ids))
        except KeeprateError:
            continue
    return None


def take_over(store: Store, found: StoredRun, run: RunInfo, ids: Sequence[str] | None) -> None:
    """Copy a run that was found for these sample `ids` into `store`, with the names of `run`.

    A run that is there with these names stays as it is. Raises KeeprateError for rows that cannot
    be read and for a folder that cannot be written to.
    """
    renamed = found.result.model_copy(update={"run": run})
    is_elsewhere = found.source.folder != store.folder
    # logits first: the JSON that `write` leaves says that the run is finished
    if is_elsewhere and ids is not None and found.logits is not None:
        store.write_logits(run.id, ids, found.logits)
    # in the store itself only names can differ: the id is the same
    if is_elsewhere or renamed != found.result:
        store.write(renamed, found.source.rows(run.id))
    store.forget_failure(run.id)


def _stores(store: Store) -> Iterator[Store]:
    yield store
    here = store.folder.resolve()
    if here.parent.is_dir():
        for folder in sorted(here.parent.iterdir()):
            if folder.is_dir() and folder != here:
                yield Store(folder)
