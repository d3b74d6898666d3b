"""What changed from one store to another: runs that are gone, new, or have other rows or ids."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import KeeprateError
from ..results.labels import text_of
from ..results.records import RunInfo
from ..results.store import Store
from .metrics import MetricInfo, compared_metric
from .model import PairedDifference
from .places import places_of
from .runs import LoadedRuns, ScoredRun, gather
from .sections.paired import compared, verdicts

CHANGES_VERSION: Final = 1
"""The version of these names, written into every JSON; it rises when a meaning changes."""


@dataclass(frozen=True)
class NamedRun:
    """What people know a run by: its method, its cost, its model and its data."""

    run_id: str
    label: str
    asked: str
    model: str
    data: str


@dataclass(frozen=True)
class ChangedRun:
    """A run that has other rows in the second store, or was requested in both with another id.

    `before` and `after` have the same id where only the rows differ. `reasons` say which parts of
    the identity differ, or in how many images the rows do. `difference` is after less before, None
    where the two are not on the same images.
    """

    before: NamedRun
    after: NamedRun
    reasons: tuple[str, ...]
    difference: PairedDifference | None


@dataclass(frozen=True)
class Changes:
    """How two stores differ. `unchanged` counts the runs that are in both with the same rows.

    Differences are in scores by `metric`, the default one. `places` are the absolute paths in the
    descriptions of the runs, and the two folders.
    """

    before: str
    after: str
    unchanged: int
    only_before: tuple[NamedRun, ...]
    only_after: tuple[NamedRun, ...]
    other_rows: tuple[ChangedRun, ...]
    other_identity: tuple[ChangedRun, ...]
    problems: tuple[str, ...]
    metric: MetricInfo
    places: tuple[str, ...] = ()
    version: int = CHANGES_VERSION

    @property
    def runs_before(self) -> int:
        """The number of finished runs in the first store."""
        return len(self.only_before) + self._runs_in_both

    @property
    def runs_after(self) -> int:
        """The number of finished runs in the second store."""
        return len(self.only_after) + self._runs_in_both

    @property
    def _runs_in_both(self) -> int:
        return self.unchanged + len(self.other_rows) + len(self.other_identity)


_Pair = tuple[ScoredRun, ScoredRun, tuple[str, ...]]


def changes(before: Store, after: Store, level: float = 0.95) -> Changes:
    """Compare two stores run by run; all differences are corrected as one family.

    Two runs with the same id are the same run. Of the other runs, two are the same request if they
    have the same method, parameters, cost, seed, precision and names of model and data; the reasons
    say why their ids differ. Problems are listed with their store's folder, and none is raised.
    """
    runs_before, runs_after = gather(before), gather(after)
    before_by_id, after_by_id = _by_id(runs_before), _by_id(runs_after)
    shared = sorted(before_by_id.keys() & after_by_id.keys())
    problems = _problems(before, runs_before) + _problems(after, runs_after)
    changed_rows: list[_Pair] = []
    for run_id in shared:
        try:
            difference = _other_rows(before, after, run_id)
        except KeeprateError as error:
            problems.append(str(error))
        else:
            changed_rows += (
                [(before_by_id[run_id], after_by_id[run_id], (difference,))] if difference else []
            )
    only_one_side = [
        [run for run_id, run in by_id.items() if run_id not in shared]
        for by_id in (before_by_id, after_by_id)
    ]
    requested_again = list(_requested_again(*only_one_side))
    differences = _paired_differences([*changed_rows, *requested_again], level)
    gone_ids, new_ids = (
        {old.id for old, _, _ in requested_again},
        {new.id for _, new, _ in requested_again},
    )
    return Changes(
        before=str(before.folder),
        after=str(after.folder),
        unchanged=len(shared) - len(changed_rows),
        only_before=tuple(_named_run(run) for run in only_one_side[0] if run.id not in gone_ids),
        only_after=tuple(_named_run(run) for run in only_one_side[1] if run.id not in new_ids),
        other_rows=tuple(_changed(pair, differences) for pair in changed_rows),
        other_identity=tuple(_changed(pair, differences) for pair in requested_again),
        problems=tuple(problems),
        metric=compared_metric(None),
        places=tuple(str(store.folder.absolute()) for store in (before, after))
        + places_of(run.run for run in (*before_by_id.values(), *after_by_id.values())),
    )


def _by_id(evidence: LoadedRuns) -> dict[str, ScoredRun]:
    by_id = {run.id: run for group in evidence.groups for run in group.runs}
    return dict(sorted(by_id.items()))


def _problems(store: Store, evidence: LoadedRuns) -> list[str]:
    return [f"{store.folder}: {problem}" for problem in evidence.problems]


def _other_rows(before: Store, after: Store, run_id: str) -> str:
    """Say how the rows of one run differ, "" if they are equal; KeeprateError if unreadable."""
    paths = [store.path_of(run_id, ".parquet") for store in (before, after)]
    try:
        # most files are equal byte by byte, which is found without decoding them
        if paths[0].read_bytes() == paths[1].read_bytes():
            return ""
    except OSError as error:
        raise KeeprateError(f"{run_id}: {error}") from error
    ours, theirs = (store.rows(run_id).sort("sample") for store in (before, after))
    if not ours["sample"].equals(theirs["sample"]):
        return "rows of other images"
    # a metric that only one of the stores has says nothing of the run itself
    both = [name for name in ours.columns if name in theirs.columns]
    unequal = {name: ours[name].ne_missing(theirs[name]) for name in both}
    counts = {name: int(column.sum()) for name, column in unequal.items()}
    counted = ", ".join(f"{name} in {count}" for name, count in counts.items() if count)
    return f"of {ours.height} rows differ: {counted}" if counted else ""


def _requested_again(before: Sequence[ScoredRun], after: Sequence[ScoredRun]) -> Iterator[_Pair]:
    """Yield pairs of runs with the same request; equal requests are paired in the order of ids."""
    runs_after: dict[tuple[object, ...], list[ScoredRun]] = defaultdict(list)
    for scored_run in after:
        runs_after[_request_key(scored_run.run)].append(scored_run)
    for scored_run in before:
        alike = runs_after[_request_key(scored_run.run)]
        if alike:
            other = alike.pop(0)  # a run takes part in one pair only
            yield scored_run, other, _reasons(scored_run.run, other.run)


def _request_key(run: RunInfo) -> tuple[object, ...]:
    """Return what people typed for a run, as far as the store keeps it."""
    return (
        run.method,
        text_of(dict(sorted(run.parameters.items()))),
        run.budget or run.schedule,
        run.seed,
        run.backbone.name,
        run.data.title,
        run.precision,
        run.empty_last_mlp,
    )


def _reasons(before: RunInfo, after: RunInfo) -> tuple[str, ...]:
    """Name the parts of the identity in which two runs differ (docs/runs.md)."""
    parts = zip(_identity(before).items(), _identity(after).values(), strict=True)
    return tuple(name for (name, ours), theirs in parts if ours != theirs)


def _identity(run: RunInfo) -> dict[str, object]:
    return {
        "code of the method": run.sources.get("method"),
        "code of the backbone": run.sources.get("backbone"),
        "code of the data set": run.sources.get("data set"),
        "stages": (run.stages, run.stages_sha256),
        "class of the model": run.backbone.cls,
        "structure of the model": run.backbone.structure_sha256,
        "weights": run.backbone.weights_sha256,
        "image size": run.backbone.image_size,
        "parameters of the data": run.data.parameters,
        "samples": run.data.fingerprint,
        "number of samples": run.data.images,
        "skipped samples": sorted(run.data.skipped),
        "transform": run.data.transform,
        "whether tokens are reduced": run.reduces,
    }


def _paired_differences(
    pairs: Sequence[_Pair], level: float
) -> dict[tuple[str, str], PairedDifference]:
    # only runs on the same images can be paired image by image
    comparable = [(a, b) for a, b, _ in pairs if a.samples == b.samples]
    differences = {(a.id, b.id): compared([b], [a], level) for a, b in comparable}
    return verdicts(differences, level, comparable[0][0].metric) if comparable else {}


def _changed(pair: _Pair, differences: Mapping[tuple[str, str], PairedDifference]) -> ChangedRun:
    a, b, reasons = pair
    return ChangedRun(_named_run(a), _named_run(b), reasons, differences.get((a.id, b.id)))


def _named_run(scored_run: ScoredRun) -> NamedRun:
    run = scored_run.run
    return NamedRun(
        run_id=scored_run.id,
        label=scored_run.label,
        asked=run.budget or run.schedule,
        model=run.backbone.name,
        data=run.data.title,
    )
