"""Reuse finished runs of the store itself, or of another store beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import KeeprateError
from .records import RunInfo
from .store import Store


def reuse(store: Store, run: RunInfo, ids: Sequence[str] | None, *, write: bool) -> Path | None:
    """Return the folder in which a finished run was found, None if there is none.

    The store itself is searched, then the stores in the folders beside it. The run is copied into
    `store`, under the names that `run` gives it. `ids` are the samples whose logits are needed: a
    run that has no logits for them does not count as finished. With `write=False` nothing is
    copied.
    """
    for source in _stores(store):
        if source.has(run.id) and _has_logits(source, run.id, ids):
            if write:
                _copy_run(store, source, run, ids)
            return source.folder
    return None


def _stores(store: Store) -> Iterator[Store]:
    yield store
    here = store.folder.resolve()
    if here.parent.is_dir():
        for folder in sorted(here.parent.iterdir()):
            if folder.is_dir() and folder != here:
                yield Store(folder)


def _has_logits(source: Store, run_id: str, ids: Sequence[str] | None) -> bool:
    if ids is None:
        return True
    try:
        source.read_logits(run_id, ids)
    except KeeprateError:
        return False
    return True


def _copy_run(store: Store, source: Store, run: RunInfo, ids: Sequence[str] | None) -> None:
    result = source.read(run.id)
    renamed = result.model_copy(update={"run": run})
    # logits first: the JSON that `write` leaves says that the run is finished
    if source.folder != store.folder:
        if ids is not None:
            store.write_logits(run.id, ids, source.read_logits(run.id, ids))
        store.write(renamed, source.rows(run.id))
    elif renamed != result:  # only names differ: the id is the same
        store.write(renamed, source.rows(run.id))
    store.forget_failure(run.id)
