"""Finished runs are taken over: from the store itself, or from another one beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import KeeprateError
from .records import RunInfo
from .store import Store


def reuse(store: Store, run: RunInfo, ids: Sequence[str] | None, *, write: bool) -> Path | None:
    """Return the folder that a finished run was found in, and see that `store` has it.

    The stores in the folders beside this one are searched, too. The run is then described as it was
    asked for here, whatever names it had. `ids` are the samples whose logits are needed: without
    them the run does not count as finished. With `write=False` nothing is copied.
    """
    for source in _stores(store):
        if source.has(run.id) and _has_logits(source, run.id, ids):
            if write:
                _take_over(store, source, run, ids)
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


def _take_over(store: Store, source: Store, run: RunInfo, ids: Sequence[str] | None) -> None:
    result = source.read(run.id)
    described = result.model_copy(update={"run": run})
    if source.folder != store.folder:
        if ids is not None:
            store.write_logits(run.id, ids, source.read_logits(run.id, ids))
        store.write(described, source.rows(run.id))
    elif described != result:
        store.write(described, source.rows(run.id))
    store.forget_failure(run.id)
