"""Find, remove and merge the runs of stores."""

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
from .plausibility import ALTERED, has_figures_of
from .records import Result
from .store import Store, run_files

_SUFFIXES: Final = (".json", ".parquet", ".npy")
"""Files of a finished run. The first marks it as finished: it is removed first, written last."""

_ID: Final = re.compile(r"[A-Za-z0-9_-]+-[0-9a-f]{12}")
"""Names of the files of runs; other files in the folder are never touched."""


@dataclass(frozen=True)
class Merged:
    """What became of one run of `source`.

    A run that was new was "copied". A run that was there before is "kept" or "replaced"; then
    `difference` says in a line how its rows differ from those of the source, "" if they do not. Of
    a run that is finished nowhere, the "failure" was copied.
    """

    id: str
    source: Path
    what: Literal["copied", "kept", "replaced", "failure"]
    difference: str = ""


@dataclass(frozen=True)
class MergeReport:
    """What `merge` did, and a line for each file that could not be read and was left out."""

    runs: tuple[Merged, ...]
    problems: tuple[str, ...]

    def ids(self, what: str) -> list[str]:
        """Return the ids of the runs with this outcome: "copied", "kept", "replaced", "failure"."""
        return [run.id for run in self.runs if run.what == what]

    @property
    def conflicts(self) -> list[Merged]:
        """The runs whose rows differ between the stores."""
        return [run for run in self.runs if run.difference]


def open_store(folder: Path) -> Store:
    """Return the store in a folder. Raises KeeprateError if there is no such folder."""
    if folder.is_dir():
        return Store(folder)
    if folder.exists():
        raise KeeprateError(f"{folder} is a file, not a folder of results.")
    siblings = folder.parent.iterdir() if folder.parent.is_dir() else ()
    stores = sorted(str(path) for path in siblings if path.is_dir() and run_files(path))
    if not stores:
        raise KeeprateError(f"No results folder '{folder}'. `keeprate compare` makes one.")
    raise unknown_name("results folder", str(folder), stores)


def known(store: Store) -> list[str]:
    """Return the ids of all runs that have any file: finished, failed, unreadable or begun."""
    finished = (path for suffix in _SUFFIXES for path in store.folder.glob(f"*{suffix}"))
    failed = store.folder.glob("failed/*.json")
    stems = {path.stem for path in (*finished, *failed) if _ID.fullmatch(path.stem)}
    return sorted(stems | images_done(store).keys())


def images_done(store: Store) -> dict[str, int]:
    """Return, by id of each unfinished run, the number of images that have saved rows."""
    positions: dict[str, set[int]] = defaultdict(set)
    for path in store.folder.glob("partial/*.rows.parquet"):
        # another process may just be removing the file, because its runs are finished
        with suppress(OSError, pl.exceptions.PolarsError):
            for (run,), part in pl.read_parquet(path, columns=["run", "place"]).group_by("run"):
                positions[str(run)].update(part["place"])
    return {run: len(done) for run, done in positions.items()}


def find(store: Store, pattern: str) -> list[str]:
    """Return the ids that a pattern means: an id, the beginning of one id, or a glob.

    A glob, with `*`, `?` or `[`, means all ids that match. Raises KeeprateError if there is none,
    or for a beginning that several ids have.
    """
    ids = known(store)
    if pattern in ids:
        return [pattern]
    if re.search(r"[*?[]", pattern):
        matches = [run_id for run_id in ids if fnmatchcase(run_id, pattern)]
    else:
        matches = [run_id for run_id in ids if pattern and run_id.startswith(pattern)]
        if len(matches) > 1:
            raise KeeprateError(
                f"{len(matches)} runs begin with '{pattern}': {', '.join(matches)}. "
                f"Type more of the one, or '{pattern}*' for all."
            )
    if not matches:
        raise unknown_name("run", pattern, ids)
    return matches


def remove(store: Store, ids: Collection[str]) -> None:
    """Remove all files of these runs; a file that does not exist is no error.

    Whenever it is stopped, a run is whole or does not count as finished. Raises KeeprateError for a
    store that another process writes to or that cannot be written to.
    """
    with locked(store.folder, "wait for it"), explained(store.folder):
        for run_id in ids:
            for suffix in _SUFFIXES:
                store.path_of(run_id, suffix).unlink(missing_ok=True)
            store.forget_failure(run_id)
        PartialRows(store.folder).forget(ids)


def merge(target: Store, sources: Sequence[Store], *, prefer_source: bool = False) -> MergeReport:
    """Copy the finished and the failed runs of other stores into `target`, which need not exist.

    A run that is in both stays as it is in `target`. If its rows differ, `prefer_source` takes
    those of the source. Each run appears whole or not at all. Unfinished rows are not copied.
    Raises KeeprateError for a target that another process writes to or that cannot be written to,
    and for a source that is the target.
    """
    for source in sources:
        if source.folder.resolve() == target.folder.resolve():
            raise KeeprateError(f"{source.folder} cannot be merged into itself: name another one.")
    outcomes: list[Merged | str] = []
    with locked(target.folder, "wait for it"), explained(target.folder):
        for source in sources:
            outcomes += _merge_finished(target, source, prefer_source)
        # after all finished runs: what failed in one source may be finished in another
        for source in sources:
            outcomes += _merge_failed(target, source)
    runs = tuple(outcome for outcome in outcomes if isinstance(outcome, Merged))
    return MergeReport(runs, tuple(outcome for outcome in outcomes if isinstance(outcome, str)))


def _merge_finished(target: Store, source: Store, prefer_source: bool) -> Iterator[Merged | str]:
    """Copy finished runs; yield the outcome of each, and a line for each unreadable file."""
    results, unreadable = source.results()
    yield from (str(source.folder / problem) for problem in unreadable)
    for result in results:
        try:
            yield _merge_run(target, source, result, prefer_source)
        except _Unreadable as problem:
            yield str(problem)


class _Unreadable(Exception):
    """The reason, in one line, why a run of a source is left out."""


def _merge_run(target: Store, source: Store, result: Result, prefer_source: bool) -> Merged:
    files, theirs = _read_run(source, result)
    ours = _target_rows(target, result.id)
    if ours is None:
        _write_run(target, result.id, files)
        return Merged(result.id, source.folder, "copied")
    difference = _compare_rows(ours, theirs)
    if difference and prefer_source:
        _write_run(target, result.id, files)
        return Merged(result.id, source.folder, "replaced", difference)
    logits = target.path_of(result.id, ".npy")
    # the target may have the same rows without their logits
    if not difference and ".npy" in files and not logits.exists():
        write_together({logits: files[".npy"]})
    return Merged(result.id, source.folder, "kept", difference)


def _read_run(source: Store, result: Result) -> tuple[dict[str, bytes], pl.DataFrame]:
    """Return the files of a finished run, by suffix, and its rows. Raises _Unreadable."""
    paths = {suffix: source.path_of(result.id, suffix) for suffix in _SUFFIXES}
    try:
        files = {suffix: path.read_bytes() for suffix, path in paths.items() if path.exists()}
        rows = source.rows(result.id)
        if ".npy" in files:
            # only to see that they can be read and have every sample
            source.read_logits(result.id, rows["sample"].to_list())
        # another process may have replaced the run while its files were read
        reread = source.read(result.id)
    except (OSError, KeeprateError) as error:
        raise _Unreadable(str(error)) from error
    if reread != result or not has_figures_of(result.measured, rows):
        raise _Unreadable(f"{paths['.json']}: {ALTERED}")
    return files, rows


def _write_run(target: Store, run_id: str, files: Mapping[str, bytes]) -> None:
    # logits that are left from the replaced run would be of other rows
    if ".npy" not in files:
        target.path_of(run_id, ".npy").unlink(missing_ok=True)
    ordered = [suffix for suffix in reversed(_SUFFIXES) if suffix in files]
    write_together({target.path_of(run_id, suffix): files[suffix] for suffix in ordered})
    target.forget_failure(run_id)


def _target_rows(target: Store, run_id: str) -> pl.DataFrame | None:
    """Return the rows of a run in `target`, None if it is not finished there or unreadable."""
    try:
        return None if target.find(run_id) is None else target.rows(run_id)
    except KeeprateError:
        return None


def _compare_rows(ours: pl.DataFrame, theirs: pl.DataFrame) -> str:
    """Return in one line how the rows of a run in two stores differ, "" if they do not."""
    ours, theirs = ours.sort("sample"), theirs.sort("sample")
    if not ours["sample"].equals(theirs["sample"]):
        return "its rows are of other images"
    # ne_missing: two values that are both missing are equal
    both = [name for name in ours.columns if name in theirs.columns]
    unequal = pl.DataFrame([ours[name].ne_missing(theirs[name]) for name in both])
    images = unequal.select(pl.any_horizontal(pl.all())).to_series().sum()
    if not images:
        return ""
    return f"{images} of {ours.height} rows differ, {unequal['prediction'].sum()} in the prediction"


def _merge_failed(target: Store, source: Store) -> Iterator[Merged | str]:
    """Copy failures of runs that have neither a result nor a failure in `target`."""
    failures, unreadable = source.failures()
    yield from (str(source.folder / problem) for problem in unreadable)
    failed_ids = {failure.id for failure in target.failures()[0]}
    for failure in failures:
        if failure.id not in failed_ids and target.find(failure.id) is None:
            target.write_failure(failure)
            yield Merged(failure.id, source.folder, "failure")
