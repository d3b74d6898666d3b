"""Every run of a store in a line: what it is, what came out of it, how far it came."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from .labels import labels_of
from .manage import images_done
from .records import Failure, Result, RunInfo
from .store import Store


@dataclass(frozen=True)
class Listed:
    """One run. What is not known of it, because it is not finished or not described, is None.

    `state` is "finished", "failed" or "partial"; `macs` are multiply-accumulates per image,
    `share` what they are of the unpruned model's (0 to 1); `images` are those that there are rows
    of, `started` is an ISO 8601 time, `error` why a failed run failed.
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
    """Return all runs of a store, by id, and in a line each what cannot be read."""
    results, problems = store.results()
    failures, more = store.failures()
    begun = images_done(store)
    finished = {each.id: each for each in results}
    failed = {each.id: each for each in failures if each.id not in finished}
    runs = [*(each.run for each in finished.values()), *(each.run for each in failed.values())]
    labels = labels_of(runs)
    lines = [_finished(each, labels[name]) for name, each in finished.items()]
    lines += [_failed(each, labels[name], begun.get(name, 0)) for name, each in failed.items()]
    described = finished.keys() | failed.keys()
    lines += [Listed(name, "partial", n) for name, n in begun.items() if name not in described]
    return sorted(lines, key=lambda line: line.id), problems + more


def compared_with(store: Store, ids: Collection[str]) -> dict[str, int]:
    """By id, how many finished runs that are not among `ids` are compared with an unpruned one."""
    results, _ = store.results()
    stay = Counter(_setting(each.run) for each in results if each.id not in ids)
    unpruned = (each for each in results if each.id in ids and not each.run.reduces)
    counts = {each.id: stay[_setting(each.run)] for each in unpruned}
    return {name: count for name, count in counts.items() if count}


def _setting(run: RunInfo) -> tuple[str, str, int, str]:
    return run.backbone.weights_sha256, run.data.fingerprint, run.data.images, run.precision


def _label(run: RunInfo, label: str) -> str:
    return f"{label} {run.budget or run.schedule}".rstrip()


def _finished(result: Result, label: str) -> Listed:
    run, measured = result.run, result.measured
    return Listed(
        id=result.id,
        state="finished",
        images=measured.images,
        label=_label(run, label),
        model=run.backbone.name,
        data=run.data.name,
        macs=measured.macs.total,
        share=measured.macs.total / measured.macs.unpruned,
        top1=measured.top1,
        started=result.environment.started,
    )


def _failed(failure: Failure, label: str, images: int) -> Listed:
    run = failure.run
    return Listed(
        id=failure.id,
        state="failed",
        images=images,
        label=_label(run, label),
        model=run.backbone.name,
        data=run.data.name,
        started=failure.environment.started,
        error=failure.error,
    )
