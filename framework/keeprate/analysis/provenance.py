"""Where the figures of a run come from, what failed and what was left out, as a report shows it."""

from __future__ import annotations

from dataclasses import dataclass


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
