"""Where each figure comes from, and the command that computes it again."""

from __future__ import annotations

from ...results.labels import text_of
from ..provenance import Provenance
from ..runs import ScoredRun
from .commands import command_of


def provenance(judged: ScoredRun) -> Provenance:
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
