"""What can be done with a store besides filling it: find, remove and merge its runs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

import polars as pl

from ..errors import KeeprateError, unknown_name
from .atomic_files import explained, write_together
from .lock import locked
from .partial_rows import PartialRows
from .records import ROW_COLUMNS, Result
from .store import Store, run_files

_SUFFIXES: Final = (".json", ".parquet", ".npy")
"""Files of a finished run. The first says that it is finished, so it goes first and comes last."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{12}")
"""Names of the files of runs; others in the folder are not touched."""


@dataclass(frozen=True)
class Merged:
    """What became of one run of `source`.

    It was "copied", or was there before and is "kept" or "replaced"; then `difference` says in a
    line how its rows differ from the source's, "" if they do not. Of a run that is finished nowhere
    the "failure" was copied.
    """

    id: str
    source: Path
    what: Literal["copied", "kept", "replaced", "failure"]
    difference: str = ""


@dataclass(frozen=True)
class MergeReport:
    """What `merge` did, and in a line each what could not be read and was left out."""

    runs: tuple[Merged, ...]
    problems: tuple[str, ...]

    def ids(self, what: str) -> list[str]:
        """The runs that were "copied", "kept" or "replaced", or whose "failure" was copied."""
        return [run.id for run in self.runs if run.what == what]

    @property
    def conflicts(self) -> list[Merged]:
        """The runs whose rows differ."""
        return [run for run in self.runs if run.difference]


def open_store(folder: Path) -> Store:
    """Return the store in a folder. Raises KeeprateError if there is no such folder."""
    if folder.is_dir():
        return Store(folder)
    if folder.exists():
        raise KeeprateError(f"{folder} is a file, not a folder of results.")
    beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
    stores = sorted(str(path) for path in beside if path.is_dir() and run_files(path))
    if not stores:
        raise KeeprateError(f"No results folder '{folder}'. `keeprate compare` makes one.")
    raise unknown_name("results folder", str(folder), stores)


def known(store: Store) -> list[str]:
    """The ids of all runs of which anything is stored: finished, failed, unreadable or begun."""
    finished = (path for suffix in _SUFFIXES for path in store.folder.glob(f"*{suffix}"))
    failed = store.folder.glob("failed/*.json")
    stems = {path.stem for path in (*finished, *failed) if _ID.fullmatch(path.stem)}
    return sorted(stems | images_done(store).keys())


def images_done(store: Store) -> dict[str, int]:
    """By run id, the number of images that rows of unfinished runs are saved of."""
    positions: dict[str, set[int]] = defaultdict(set)
    for path in store.folder.glob("partial/*.rows.parquet"):
        with suppress(OSError, pl.exceptions.PolarsError):
            for (run,), part in pl.read_parquet(path, columns=["run", "place"]).group_by("run"):
                positions[str(run)].update(part["place"])
    return {run: len(done) for run, done in positions.items()}


def find(store: Store, pattern: str) -> list[str]:
    """Return the ids that a pattern means: an id, the beginning of one, or with `*`, `?`, `[` all.

    Raises KeeprateError if there is none, or for a beginning that several have.
    """
    ids = known(store)
    if pattern in ids:
        return [pattern]
    if re.search(r"[*?[]", pattern):
        found = [each for each in ids if fnmatchcase(each, pattern)]
    else:
        found = [each for each in ids if pattern and each.startswith(pattern)]
        if len(found) > 1:
            raise KeeprateError(
                f"{len(found)} runs begin with '{pattern}': {', '.join(found)}. "
                f"Type more of the one, or '{pattern}*' for all."
            )
    if not found:
        raise unknown_name("run", pattern, ids)
    return found


def remove(store: Store, ids: Collection[str]) -> None:
    """Remove everything stored of these runs; what is not there is no error.

    Whenever it is stopped, a run is there whole or does not count as finished. Raises KeeprateError
    for a store that another process writes to or that cannot be written to.
    """
    with locked(store.folder, "wait for it"), explained(store.folder):
        for run_id in ids:
            for suffix in _SUFFIXES:
                store.path_of(run_id, suffix).unlink(missing_ok=True)
            store.forget_failure(run_id)
        PartialRows(store.folder).forget(ids)


def merge(target: Store, sources: Sequence[Store], *, prefer_source: bool = False) -> MergeReport:
    """Copy the finished and the failed runs of other stores into `target`, which need not be there.

    A run that is in both is kept as it is in `target`, but where its rows differ `prefer_source`
    takes the source's. Each run appears whole or not at all. Unfinished rows are not copied. Raises
    KeeprateError for a target that another process writes to or that cannot be written to, and for
    a source that is the target.
    """
    for source in sources:
        if source.folder.resolve() == target.folder.resolve():
            raise KeeprateError(f"{source.folder} cannot be merged into itself: name another one.")
    told: list[Merged | str] = []
    with locked(target.folder, "wait for it"), explained(target.folder):
        for source in sources:
            told += _merge_finished(target, source, prefer_source)
        for source in sources:
            told += _merge_failed(target, source)
    runs = tuple(each for each in told if isinstance(each, Merged))
    return MergeReport(runs, tuple(each for each in told if isinstance(each, str)))


def _merge_finished(target: Store, source: Store, prefer_source: bool) -> Iterator[Merged | str]:
    """Copy finished runs; yield what became of each, and in a line what cannot be read."""
    results, unreadable = source.results()
    yield from (str(source.folder / problem) for problem in unreadable)
    for result in results:
        try:
            yield _merge_run(target, source, result, prefer_source)
        except _Unreadable as problem:
            yield str(problem)


class _Unreadable(Exception):
    """A run of a source that is left out, in one line."""


def _merge_run(target: Store, source: Store, result: Result, prefer_source: bool) -> Merged:
    files, theirs = _read(source, result)
    ours = _rows(target, result.id)
    if ours is None:
        _write(target, result.id, files)
        return Merged(result.id, source.folder, "copied")
    difference = _difference(ours, theirs)
    if difference and prefer_source:
        _write(target, result.id, files)
        return Merged(result.id, source.folder, "replaced", difference)
    logits = target.path_of(result.id, ".npy")
    if not difference and ".npy" in files and not logits.exists():
        write_together({logits: files[".npy"]})
    return Merged(result.id, source.folder, "kept", difference)


def _read(source: Store, result: Result) -> tuple[dict[str, bytes], pl.DataFrame]:
    """The files of a finished run, by suffix, and its rows. Raises _Unreadable."""
    paths = {suffix: source.path_of(result.id, suffix) for suffix in _SUFFIXES}
    try:
        files = {suffix: path.read_bytes() for suffix, path in paths.items() if path.exists()}
        rows = source.rows(result.id)
        if ".npy" in files:
            source.read_logits(result.id, rows["sample"].to_list())
        again = source.read(result.id)
    except (OSError, KeeprateError) as error:
        raise _Unreadable(str(error)) from error
    if rows.height != result.measured.images or again != result:
        raise _Unreadable(f"{paths['.json']}: its figures are not those of its rows")
    return files, rows


def _write(target: Store, run_id: str, files: Mapping[str, bytes]) -> None:
    if ".npy" not in files:
        target.path_of(run_id, ".npy").unlink(missing_ok=True)
    ordered = [suffix for suffix in reversed(_SUFFIXES) if suffix in files]
    write_together({target.path_of(run_id, suffix): files[suffix] for suffix in ordered})
    target.forget_failure(run_id)


def _rows(target: Store, run_id: str) -> pl.DataFrame | None:
    """The rows of a run in `target`, None if it is not finished there or cannot be read."""
    try:
        return target.rows(run_id) if target.has(run_id) else None
    except KeeprateError:
        return None


def _difference(ours: pl.DataFrame, theirs: pl.DataFrame) -> str:
    """How the rows of a run differ from those of the same run, "" if they do not."""
    ours, theirs = ours.sort("sample"), theirs.sort("sample")
    if not ours["sample"].equals(theirs["sample"]):
        return "its rows are of other images"
    unequal = pl.DataFrame([ours[name].ne_missing(theirs[name]) for name in ROW_COLUMNS])
    images = unequal.select(pl.any_horizontal(pl.all())).to_series().sum()
    if not images:
        return ""
    return f"{images} of {ours.height} rows differ, {unequal['prediction'].sum()} in the prediction"


def _merge_failed(target: Store, source: Store) -> Iterator[Merged | str]:
    """Copy failures of runs of which `target` has neither a result nor a failure."""
    failures, unreadable = source.failures()
    yield from (str(source.folder / problem) for problem in unreadable)
    there = {failure.id for failure in target.failures()[0]}
    for failure in failures:
        if failure.id not in there and not target.has(failure.id):
            target.write_failure(failure)
            yield Merged(failure.id, source.folder, "failure")
