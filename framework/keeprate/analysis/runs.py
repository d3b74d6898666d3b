"""Load every run of a store with its score on each image: what findings are made of."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import KeeprateError
from ..results.labels import labels_of
from ..results.plausibility import ALTERED
from ..results.records import Failure, Result, RunInfo
from ..results.store import Store
from .chance import chance_notes
from .metrics import MetricInfo, compared_metric, measured_metrics
from .shown_series import ShownSeries, check_names
from .spread import CostSpread, cost_spread

_ROWS_AT_ONCE: Final = 2_000_000
"""Most rows of several runs that are read together: their sample ids take some 100 MB."""


@dataclass(frozen=True)
class ScoredRun:
    """A run and its score by `metric` on each image that has one, in the order of the sample ids.

    `samples` is a hash of these ids: runs with the same hash are paired image by image. `packed`
    are the scores of `count` images: eight in a byte where all are true or false, else float64.
    `spread` says how costs differ between images, if they do.
    """

    id: str
    label: str
    result: Result
    samples: str
    metric: MetricInfo
    count: int
    packed: NDArray[np.uint8] | NDArray[np.float64]
    spread: CostSpread | None = None

    @property
    def run(self) -> RunInfo:
        """The description of the run."""
        return self.result.run

    @property
    def macs(self) -> float:
        """Multiply-accumulates per image, the method's own included."""
        return self.result.measured.macs.total

    @property
    def is_binary(self) -> bool:
        """Whether every score is true or false."""
        return self.packed.dtype == np.uint8

    @property
    def scores(self) -> NDArray[np.bool_] | NDArray[np.float64]:
        """The score of each image, (N,): bool, or float64 in the unit of the rows."""
        if self.is_binary:
            bits = cast(NDArray[np.uint8], self.packed)
            return np.unpackbits(bits, count=self.count).view(np.bool_)
        return cast(NDArray[np.float64], self.packed)

    @property
    def right(self) -> int:
        """The number of images with the score true."""
        return int(np.bitwise_count(self.packed).sum())

    @property
    def mean(self) -> float:
        """The mean score."""
        return self.right / self.count if self.is_binary else float(self.packed.mean())

    @property
    def goodness(self) -> float:
        """The mean score, negative where a lower one is better: sorts runs."""
        return self.mean if self.metric.higher_is_better else -self.mean


@dataclass(frozen=True)
class RunGroup:
    """The runs of one model on the same images, by id; `unpruned` is what they are compared with.

    Of several unpruned runs it is one that computes the whole last block, with the lowest seed.
    """

    title: str
    runs: tuple[ScoredRun, ...]
    unpruned: ScoredRun | None

    @property
    def metric(self) -> MetricInfo:
        """The metric that the runs are compared by."""
        return self.runs[0].metric

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """All metrics that some run has."""
        return measured_metrics(n for run in self.runs for n in run.result.measured.metrics)

    @property
    def samples(self) -> str:
        """The hash of sample ids that a run must have in order to be compared."""
        return (self.unpruned or self.runs[0]).samples


@dataclass(frozen=True)
class LoadedRuns:
    """What was read from a store: groups by title, failed runs, and a line for each problem."""

    groups: tuple[RunGroup, ...]
    failures: tuple[Failure, ...]
    problems: tuple[str, ...]
    store: Store


def gather(store: Store, metric: str | None = None, shown: ShownSeries | None = None) -> LoadedRuns:
    """Read a store: group the runs that can be compared, and load each run's scores by `metric`.

    Runs of one group have the same weights, images, transform and precision. Runs that failed,
    cannot be read or cannot be compared are listed in the problems, and none of them is raised.
    `metric` None stands for the default one. Raises KeeprateError as `compared_metric` does, and,
    before any rows are read, for a model or a method in `shown` that no run has.
    """
    info = compared_metric(metric)
    results, problems = store.results()
    if shown and results:
        check_names(shown, [result.run for result in results])
    failures, unreadable = store.failures()
    problems += [f"{failure.id} failed: {failure.error}" for failure in failures] + unreadable
    labels = labels_of([result.run for result in results])
    members: dict[str, list[ScoredRun]] = defaultdict(list)
    measured = [result for result in results if info.name in result.measured.metrics]
    problems += [
        f"{result.id} has no metric '{info.name}': run it again with --force"
        for result in results
        if info.name not in result.measured.metrics
    ]
    for result, rows in _outcomes(store, measured, info.column):
        try:
            scored_run = _scored_run(result, labels, rows, info)
        except KeeprateError as error:
            problems.append(str(error))
        else:
            members[result.run.setting].append(scored_run)
    groups = _groups(members)
    problems += [line for group in groups for line in _not_comparable(group)]
    problems += [line for group in groups for line in _scored_otherwise(group)]
    problems += chance_notes(groups, store)
    return LoadedRuns(tuple(groups), tuple(failures), tuple(problems), store)


def _outcomes(
    store: Store, results: Sequence[Result], column: str
) -> Iterator[tuple[Result, pl.DataFrame | KeeprateError]]:
    """Yield each run with `sample`, `macs` and `column`, or with the error of reading them."""
    for batch in _batches(results):
        paths = [store.path_of(result.id, ".parquet") for result in batch]
        # one scan of many small files is much faster; if it fails, each file is read alone, so
        # that the error names the one file
        frames = _read_together(paths, column)
        for position, result in enumerate(batch):
            yield result, frames[position] if frames else _read(store, result, column)


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


def _read_together(paths: Sequence[Path], column: str) -> list[pl.DataFrame] | None:
    """Read the rows of all files in one scan; None where one of the files does not allow it."""
    try:
        frame = (
            pl.scan_parquet(list(paths), include_file_paths="file")
            .select("sample", "macs", column, "file")
            .collect()
        )
    except (OSError, pl.exceptions.PolarsError):
        return None
    # a file without rows has no run of its name, which would shift all files after it
    lengths = frame["file"].rle().struct.field("len").to_list()
    if len(lengths) != len(paths):
        return None
    starts = np.cumsum([0, *lengths])
    return [frame[int(start) : int(start) + n] for start, n in zip(starts, lengths, strict=False)]


def _read(store: Store, result: Result, column: str) -> pl.DataFrame | KeeprateError:
    try:
        return store.rows(result.id, ["sample", "macs", column])
    except KeeprateError as error:
        return error


def _scored_run(
    result: Result,
    labels: Mapping[str, str],
    rows: pl.DataFrame | KeeprateError,
    metric: MetricInfo,
) -> ScoredRun:
    """Make a scored run; KeeprateError for rows that are unreadable or not those of the result."""
    if isinstance(rows, KeeprateError):
        raise rows
    run_id, measured = result.id, result.measured
    is_binary = rows[metric.column].dtype == pl.Boolean
    # an image without a score has no part in the mean either
    scored = rows if is_binary else rows.filter(pl.col(metric.column).is_not_nan())
    ordered = scored.sort("sample")
    scores = ordered[metric.column].to_numpy()
    packed = np.packbits(scores.astype(bool)) if is_binary else scores.astype(np.float64)
    mean = measured.metrics[metric.name]
    # counts are whole numbers, other sums depend on the order; a NaN fails "<=" as well
    tolerance = 0.5 if is_binary else 1e-6 * (1 + np.abs(scores).sum())
    if not len(scores):
        raise KeeprateError(f"{run_id}: metric '{metric.name}' has no value for any image")
    if rows.height != measured.images or not abs(scores.sum() - mean * len(scores)) <= tolerance:
        raise KeeprateError(f"{run_id}.json: {ALTERED}")
    # polars makes a number of each id first, which is faster than to hash the texts here
    samples = hashlib.sha256(ordered["sample"].hash().to_numpy().tobytes()).hexdigest()
    spread = cost_spread(result, rows["macs"])
    return ScoredRun(run_id, labels[run_id], result, samples, metric, len(scores), packed, spread)


def _groups(members: Mapping[str, Sequence[ScoredRun]]) -> list[RunGroup]:
    titles = _titles({key: runs[0].run for key, runs in members.items()})
    ordered = sorted(titles, key=lambda key: titles[key])
    return [RunGroup(titles[k], tuple(members[k]), _unpruned(members[k])) for k in ordered]


def _titles(examples: Mapping[str, RunInfo]) -> dict[str, str]:
    """Return a readable title for each group; groups with the same title get a number."""
    titles: dict[str, str] = {}
    for key in sorted(examples):
        run = examples[key]
        count = f"{run.data.images} {run.backbone.samples}"
        plain = f"{run.backbone.name} on {run.data.title}, {count}, {run.precision}"
        namesakes = sum(
            title == plain or title.startswith(f"{plain} #") for title in titles.values()
        )
        titles[key] = f"{plain} #{namesakes + 1}" if namesakes else plain
    return titles


def _unpruned(runs: Sequence[ScoredRun]) -> ScoredRun | None:
    plain = [run for run in runs if not run.run.reduces]
    # one with `empty_last_mlp` leaves out part of the model, so it is the last choice
    return min(plain, key=lambda run: (run.run.empty_last_mlp, run.run.seed, run.id), default=None)


def _not_comparable(group: RunGroup) -> list[str]:
    if group.unpruned is None:
        return [f"{group.title}: no unpruned run to compare with"]
    unpruned = group.unpruned
    others = [run for run in group.runs if run.samples != unpruned.samples]
    return [f"{run.id}: other images than {unpruned.id}" for run in others]


def _scored_otherwise(group: RunGroup) -> list[str]:
    """Say where the code of the metric changed between runs, whose scores then do not compare."""
    name = group.metric.name
    sources = {run.result.measured.metric_sources.get(name) for run in group.runs}
    if len(sources) == 1:
        return []
    return [
        f"{group.title}: the code of metric '{name}' changed between runs: "
        "run them again with --force"
    ]
