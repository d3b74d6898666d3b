"""List every run of a store: what it is, how far it came and what came out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace

from ..errors import KeeprateError
from .labels import labels_of
from .manage import images_done
from .partial_rows import PartialRows
from .plausibility import ALTERED, has_figures_of
from .records import Result, RunInfo
from .store import Store


@dataclass(frozen=True)
class Listed:
    """One run. Values that are not known yet, because the run is not finished, are None.

    `state` is "finished", "failed" or "partial". `macs` are multiply-accumulates per image, `share`
    is their share of the unpruned model's (0 to 1). `images` is the number of images that have
    rows, `started` an ISO 8601 time, `error` the reason why a failed run failed.
    """

    id: str
    state: str
    images: int
    label: str | None = None
    model: str | None = None
    data: str | None = None
    macs: float | None = None
    share: float | None = None
    top1: float | None = None
    started: str | None = None
    error: str | None = None


def listed(store: Store) -> tuple[list[Listed], list[str]]:
    """Return all runs of a store, sorted by id, and a line for each file that cannot be read."""
    results, problems = _true_results(store)
    failures, failure_problems = store.failures()
    image_counts = images_done(store)
    begun = PartialRows(store.folder).runs()
    finished = {result.id: result for result in results}
    # a run that failed once and was finished later counts as finished
    failed = {failure.id: failure for failure in failures if failure.id not in finished}
    described = finished.keys() | failed.keys()
    # rows of an earlier version may have nothing beside them that says whose they are
    partial = {name: begun.get(name) for name in image_counts if name not in described}
    runs = [
        *(result.run for result in finished.values()),
        *(failure.run for failure in failed.values()),
        *(run for run in partial.values() if run is not None),
    ]
    labels = labels_of(runs)  # of all at once: a label names what differs from the others
    lines = [_list_finished(result, labels[name]) for name, result in finished.items()]
    lines += [
        replace(
            _list_unfinished(failure.run, labels[name], "failed", image_counts.get(name, 0)),
            started=failure.environment.started,
            error=failure.error,
        )
        for name, failure in failed.items()
    ]
    lines += [
        Listed(name, "partial", image_counts[name])
        if run is None
        else _list_unfinished(run, labels[name], "partial", image_counts[name])
        for name, run in partial.items()
    ]
    return sorted(lines, key=lambda line: line.id), problems + failure_problems


def _true_results(store: Store) -> tuple[list[Result], list[str]]:
    """Return the results that have the figures of their rows, and a line for each other file."""
    readable, problems = store.results()
    results = []
    for result in readable:
        try:
            is_true = has_figures_of(result.measured, store.rows(result.id))
        except KeeprateError as error:
            problems.append(str(error))
            continue
        if is_true:
            results.append(result)
        else:
            problems.append(f"{result.id}.json: {ALTERED}")
    return results, problems


def compared_with(store: Store, ids: Collection[str]) -> dict[str, int]:
    """Return, for each unpruned run in `ids`, how many finished runs not in `ids` refer to it."""
    results, _ = store.results()
    remaining = Counter(result.run.setting for result in results if result.id not in ids)
    unpruned = (result for result in results if result.id in ids and not result.run.reduces)
    counts = {result.id: remaining[result.run.setting] for result in unpruned}
    return {name: count for name, count in counts.items() if count}


def _label(run: RunInfo, label: str) -> str:
    return f"{label} {run.budget or run.schedule}".rstrip()


def _list_finished(result: Result, label: str) -> Listed:
    run, measured = result.run, result.measured
    return Listed(
        id=result.id,
        state="finished",
        images=measured.images,
        label=_label(run, label),
        model=run.backbone.name,
        data=run.data.title,
        macs=measured.macs.total,
        share=measured.macs.total / measured.macs.unpruned,
        top1=measured.metrics.get("top1"),
        started=result.environment.started,
    )


def _list_unfinished(run: RunInfo, label: str, state: str, images: int) -> Listed:
    return Listed(
        id=run.id,
        state=state,
        images=images,
        label=_label(run, label),
        model=run.backbone.name,
        data=run.data.title,
    )
