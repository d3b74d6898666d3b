"""Where each figure comes from, and the command that computes it again."""

from __future__ import annotations

from dataclasses import dataclass

from ...results.labels import text_of
from ..runs import Judged
from .commands import command_of


def provenance(judged: Judged) -> Provenance:
    """Everything a reader needs to find the run again, or to compute it anew."""
    run, ran = judged.run, judged.result.environment
    return Provenance(
        run_id=judged.id,
        label=judged.label,
        method_origin=run.method_origin,
        parameters=text_of(run.parameters),
        schedule=run.schedule,
        budget=run.budget or "",
        seed=run.seed,
        model=run.backbone.name,
        weights=run.backbone.weights,
        weights_sha256=run.backbone.weights_sha256,
        structure_sha256=run.backbone.structure_sha256,
        data=f"{run.data.name} {text_of({**run.data.places, **run.data.parameters})}".rstrip(),
        data_fingerprint=run.data.fingerprint,
        images=judged.result.measured.images,
        precision=run.precision,
        device=ran.device,
        batch_size=ran.batch_size,
        versions=tuple(sorted(ran.versions.items())),
        sources=tuple(sorted(run.sources.items())),
        git_revision=ran.git_revision,
        started=ran.started,
        seconds=judged.result.measured.wall_seconds,
        notes=ran.notes,
        command=command_of(run, ran),
    )


@dataclass(frozen=True)
class Provenance:
    """Where the figures of a run come from, and the `command` that computes them again.

    `weights` is the file or name; `data` the name with its parameters and places;
    `data_fingerprint` a hash of all samples; `versions` are (package, version); `sources` are
    (what, SHA-256) of the code that plugins brought. `started` is an ISO 8601 time.
    """

    run_id: str
    label: str
    method_origin: str
    parameters: str
    schedule: str
    budget: str
    seed: int
    model: str
    weights: str
    weights_sha256: str
    structure_sha256: str
    data: str
    data_fingerprint: str
    images: int
    precision: str
    device: str
    batch_size: int
    versions: tuple[tuple[str, str], ...]
    sources: tuple[tuple[str, str], ...]
    git_revision: str | None
    started: str
    seconds: float
    notes: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class FailedRun:
    """A run that failed and is in no table; `command` tries it again."""

    run_id: str
    label: str
    error: str
    started: str
    command: str


@dataclass(frozen=True)
class SkippedSample:
    """A sample that was left out, and why."""

    sample: str
    reason: str
