"""Where a run's figures come from, which runs failed, which samples were skipped, for reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Provenance:
    """Where the figures of a run come from, and the `command` that computes them again.

    `weights` is a file or a name; `data` is the name with its parameters and folders;
    `data_fingerprint` is a hash of all samples; `versions` are (package, version); `sources` are
    (what, SHA-256) of the code of plugins. `started` is an ISO 8601 time, `seconds` the wall time.
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
    """A run that failed and so is in no table; `command` tries it again."""

    run_id: str
    label: str
    error: str
    started: str
    command: str


@dataclass(frozen=True)
class SkippedSample:
    """A sample that could not be read and was left out, with the reason."""

    sample: str
    reason: str
