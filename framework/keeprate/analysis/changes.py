"""What changed from one store to another: runs gone, new, recomputed, or asked for anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import KeeprateError
from ..results.labels import text_of
from ..results.records import ROW_COLUMNS, RunInfo
from ..results.store import Store
from .model import PairedDifference
from .runs import LoadedRuns, ScoredRun, gather
from .sections.paired import compared, verdicts

CHANGES_VERSION: Final = 1
"""Of these names and their meaning, written into every JSON; raised when one changes."""


@dataclass(frozen=True)
class NamedRun:
    """A run as people tell it from others: what it is, its cost, and what it ran on."""

    run_id: str
    label: str
    asked: str
    model: str
    data: str


@dataclass(frozen=True)
class ChangedRun:
    """A run that is in both stores with other rows, or that was asked for in both and is another.

    `before` and `after` are ids, the same for other rows. `reasons` say which parts of the
    identity differ, or in how many images the rows do. `difference` is after less before, None
    where they are not on the same images.
    """

    before: NamedRun
    after: NamedRun
    reasons: tuple[str, ...]
    difference: PairedDifference | None


@dataclass(frozen=True)
class Changes:
    """The two stores, by folder; `unchanged` counts runs that are in both with the same rows."""

    before: str
    after: str
    unchanged: int
    only_before: tuple[NamedRun, ...]
    only_after: tuple[NamedRun, ...]
    other_rows: tuple[ChangedRun, ...]
    other_identity: tuple[ChangedRun, ...]
    problems: tuple[str, ...]
    version: int = CHANGES_VERSION

    @property
    def runs_before(self) -> int:
        """Finished runs in the first store."""
        return len(self.only_before) + self._runs_in_both

    @property
    def runs_after(self) -> int:
        """Finished runs in the second store."""
        return len(self.only_after) + self._runs_in_both

    @property
    def _runs_in_both(self) -> int:
        return self.unchanged + len(self.other_rows) + len(self.other_identity)


_Pair = tuple[ScoredRun, ScoredRun, tuple[str, ...]]


def changes(before: Store, after: Store, level: float = 0.95) -> Changes:
    """Compare two stores run by run; all differences are one family.

    Runs are the same that have the same id. Those left are the same thing asked for that have the
    same method, parameters, cost, seed, precision and names of model and data: why they are other
    runs is said. Problems of both stores are named with their folder, and nothing is raised.
    """
    first, second = gather(before), gather(after)
    ours, theirs = _by_id(first), _by_id(second)
    shared = sorted(ours.keys() & theirs.keys())
    problems = _problems(before, first) + _problems(after, second)
    rows: list[_Pair] = []
    for run_id in shared:
        try:
            said = _other_rows(before, after, run_id)
        except KeeprateError as error:
            problems.append(str(error))
        else:
            rows += [(ours[run_id], theirs[run_id], (said,))] if said else []
    left = [[r for i, r in each.items() if i not in shared] for each in (ours, theirs)]
    anew = list(_asked_anew(*left))
    judged = _judged([*rows, *anew], level)
    gone, new = {a.id for a, _, _ in anew}, {b.id for _, b, _ in anew}
    return Changes(
        before=str(before.folder),
        after=str(after.folder),
        unchanged=len(shared) - len(rows),
        only_before=tuple(_named(each) for each in left[0] if each.id not in gone),
        only_after=tuple(_named(each) for each in left[1] if each.id not in new),
        other_rows=tuple(_changed(pair, judged) for pair in rows),
        other_identity=tuple(_changed(pair, judged) for pair in anew),
        problems=tuple(problems),
    )


def _by_id(evidence: LoadedRuns) -> dict[str, ScoredRun]:
    found = {each.id: each for group in evidence.groups for each in group.runs}
    return dict(sorted(found.items()))


def _problems(store: Store, evidence: LoadedRuns) -> list[str]:
    return [f"{store.folder}: {problem}" for problem in evidence.problems]


def _other_rows(before: Store, after: Store, run_id: str) -> str:
    """How the rows of one run differ, "" if they do not; KeeprateError if they are unreadable."""
    paths = [store.path_of(run_id, ".parquet") for store in (before, after)]
    try:
        if paths[0].read_bytes() == paths[1].read_bytes():
            return ""
    except OSError as error:
        raise KeeprateError(f"{run_id}: {error}") from error
    ours, theirs = (store.rows(run_id).sort("sample") for store in (before, after))
    if not ours["sample"].equals(theirs["sample"]):
        return "rows of other images"
    unequal = {name: ours[name].ne_missing(theirs[name]) for name in ROW_COLUMNS}
    counts = {name: int(column.sum()) for name, column in unequal.items()}
    said = ", ".join(f"{name} in {count}" for name, count in counts.items() if count)
    return f"of {ours.height} rows differ: {said}" if said else ""


def _asked_anew(before: Sequence[ScoredRun], after: Sequence[ScoredRun]) -> Iterator[_Pair]:
    """Pairs of runs that were asked for alike; of several alike, in the order of their ids."""
    wanted: dict[tuple[object, ...], list[ScoredRun]] = defaultdict(list)
    for each in after:
        wanted[_asked(each.run)].append(each)
    for each in before:
        alike = wanted[_asked(each.run)]
        if alike:
            other = alike.pop(0)
            yield each, other, _reasons(each.run, other.run)


def _asked(run: RunInfo) -> tuple[object, ...]:
    """What people typed, as far as it is kept."""
    return (
        run.method,
        text_of(dict(sorted(run.parameters.items()))),
        run.budget or run.schedule,
        run.seed,
        run.backbone.name,
        run.data.name,
        run.precision,
        run.empty_last_mlp,
    )


def _reasons(before: RunInfo, after: RunInfo) -> tuple[str, ...]:
    """In words, the parts of the identity in which two runs differ (docs/runs.md)."""
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


def _judged(pairs: Sequence[_Pair], level: float) -> dict[tuple[str, str], PairedDifference]:
    alike = [(a, b) for a, b, _ in pairs if a.samples == b.samples]
    return verdicts({(a.id, b.id): compared([b], [a], level) for a, b in alike}, level)


def _changed(pair: _Pair, judged: Mapping[tuple[str, str], PairedDifference]) -> ChangedRun:
    a, b, reasons = pair
    return ChangedRun(_named(a), _named(b), reasons, judged.get((a.id, b.id)))


def _named(judged: ScoredRun) -> NamedRun:
    run = judged.run
    return NamedRun(
        run_id=judged.id,
        label=judged.label,
        asked=run.budget or run.schedule,
        model=run.backbone.name,
        data=run.data.name,
    )
