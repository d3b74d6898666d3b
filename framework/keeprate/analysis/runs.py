"""What findings are made of: every run of a store and, packed, which images it got right."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import KeeprateError
from ..results.labels import labels_of
from ..results.records import Failure, Result, RunInfo
from ..results.store import Store

_ROWS_AT_ONCE: Final = 2_000_000
"""Rows of several runs that are read together: some 100 MB of sample ids."""


@dataclass(frozen=True)
class ScoredRun:
    """A run and whether it was right on each image, in the order of the sample ids.

    `samples` is a hash of these ids: runs that share it are paired image by image. `bits` hold
    the outcomes of `measured.images` images, eight in a byte.
    """

    id: str
    label: str
    result: Result
    samples: str
    bits: NDArray[np.uint8]

    @property
    def run(self) -> RunInfo:
        """What was asked."""
        return self.result.run

    @property
    def macs(self) -> float:
        """Multiply-accumulates per image, the method's own included."""
        return self.result.measured.macs.total

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the run was right, for each image (N,)."""
        count = self.result.measured.images
        return np.unpackbits(self.bits, count=count).view(np.bool_)

    @property
    def right(self) -> int:
        """How many images the run was right on."""
        return int(np.bitwise_count(self.bits).sum())


@dataclass(frozen=True)
class RunGroup:
    """The runs of one model on the same images, by id; `unpruned` is what they are compared with.

    It is the unpruned run computed as it stands and with the lowest seed, where there are several.
    """

    title: str
    runs: tuple[ScoredRun, ...]
    unpruned: ScoredRun | None

    @property
    def samples(self) -> str:
        """The hash of sample ids that runs need in order to be compared."""
        return (self.unpruned or self.runs[0]).samples


@dataclass(frozen=True)
class LoadedRuns:
    """A store as it was read: groups by title, failed runs, and a line for each problem.

    `store` has the rows; evidence put together by hand has none.
    """

    groups: tuple[RunGroup, ...] = ()
    failures: tuple[Failure, ...] = ()
    problems: tuple[str, ...] = ()
    store: Store | None = None


def gather(store: Store) -> LoadedRuns:
    """Read a store: put runs together that can be compared, and find what each was right on.

    Runs belong together that have the same weights, images, transform and precision. What failed,
    cannot be read or cannot be compared is named in the problems, and nothing is raised for it.
    """
    results, problems = store.results()
    failures, unreadable = store.failures()
    problems += [f"{each.id} failed: {each.error}" for each in failures] + unreadable
    labels = labels_of([result.run for result in results])
    members: dict[str, list[ScoredRun]] = defaultdict(list)
    for result, outcome in _outcomes(store, results):
        try:
            judged = _judged(result, labels, outcome)
        except KeeprateError as error:
            problems.append(str(error))
        else:
            members[_identity(result.run)].append(judged)
    groups = _groups(members)
    problems += [line for group in groups for line in _not_comparable(group)]
    return LoadedRuns(tuple(groups), tuple(failures), tuple(problems), store)


def _outcomes(
    store: Store, results: Sequence[Result]
) -> Iterator[tuple[Result, pl.DataFrame | KeeprateError]]:
    """The columns `sample` and `correct` of every run, or why they cannot be read."""
    for batch in _batches(results):
        paths = [store.path_of(result.id, ".parquet") for result in batch]
        together = _read_together(paths)
        for place, result in enumerate(batch):
            yield result, together[place] if together else _read(store, result)


def _batches(results: Iterable[Result]) -> Iterator[list[Result]]:
    batch: list[Result] = []
    rows = 0
    for result in results:
        if batch and rows + result.measured.images > _ROWS_AT_ONCE:
            yield batch
            batch, rows = [], 0
        batch.append(result)
        rows += result.measured.images
    if batch:
        yield batch


def _read_together(paths: Sequence[Path]) -> list[pl.DataFrame] | None:
    """The rows of each file, read in one go; None where that is not possible for all of them."""
    try:
        frame = (
            pl.scan_parquet(list(paths), include_file_paths="file")
            .select("sample", "correct", "file")
            .collect()
        )
    except (OSError, pl.exceptions.PolarsError):
        return None
    lengths = frame["file"].rle().struct.field("len").to_list()
    if len(lengths) != len(paths):
        return None
    starts = np.cumsum([0, *lengths])
    return [frame[int(start) : int(start) + n] for start, n in zip(starts, lengths, strict=False)]


def _read(store: Store, result: Result) -> pl.DataFrame | KeeprateError:
    try:
        return store.rows(result.id, ["sample", "correct"])
    except KeeprateError as error:
        return error


def _judged(
    result: Result, labels: Mapping[str, str], rows: pl.DataFrame | KeeprateError
) -> ScoredRun:
    """Raises KeeprateError for rows that cannot be read or are not those of the result."""
    if isinstance(rows, KeeprateError):
        raise rows
    ordered = rows.sort("sample")
    correct = ordered["correct"].to_numpy().astype(bool)
    run_id, measured = result.id, result.measured
    if len(correct) != measured.images or not (
        abs(correct.sum() - measured.top1 * measured.images) < 0.5
    ):
        raise KeeprateError(f"{run_id}.json: its figures are not those of its rows")
    samples = hashlib.sha256(ordered["sample"].hash().to_numpy().tobytes()).hexdigest()
    return ScoredRun(run_id, labels[run_id], result, samples, np.packbits(correct))


def _identity(run: RunInfo) -> str:
    """The same for runs whose images and plain model are the same."""
    data = run.data
    return json.dumps(
        [
            run.backbone.weights_sha256,
            run.backbone.image_size,
            data.fingerprint,
            data.images,
            sorted(data.skipped),
            data.transform,
            run.precision,
        ],
        sort_keys=True,
    )


def _groups(members: Mapping[str, Sequence[ScoredRun]]) -> list[RunGroup]:
    titles = _titles({key: runs[0].run for key, runs in members.items()})
    ordered = sorted(titles, key=lambda key: titles[key])
    return [RunGroup(titles[k], tuple(members[k]), _unpruned(members[k])) for k in ordered]


def _titles(examples: Mapping[str, RunInfo]) -> dict[str, str]:
    """A readable title for each group, numbered where that would not tell them apart."""
    titles: dict[str, str] = {}
    for key in sorted(examples):
        run = examples[key]
        count = f"{run.data.images} {run.backbone.samples}"
        plain = f"{run.backbone.name} on {run.data.name}, {count}, {run.precision}"
        same = sum(title == plain or title.startswith(f"{plain} #") for title in titles.values())
        titles[key] = f"{plain} #{same + 1}" if same else plain
    return titles


def _unpruned(runs: Sequence[ScoredRun]) -> ScoredRun | None:
    plain = [each for each in runs if not each.run.reduces]
    return min(
        plain, key=lambda each: (each.run.empty_last_mlp, each.run.seed, each.id), default=None
    )


def _not_comparable(group: RunGroup) -> list[str]:
    if group.unpruned is None:
        return [f"{group.title}: no unpruned run to compare with"]
    against = group.unpruned
    others = [each for each in group.runs if each.samples != against.samples]
    return [f"{each.id}: other images than {against.id}" for each in others]
