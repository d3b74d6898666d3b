"""State where the figures of a run come from, and the command that computes them again."""

from __future__ import annotations

from ...results.labels import text_of
from ..provenance import Provenance
from ..runs import ScoredRun
from .commands import command_of


def provenance(judged: ScoredRun) -> Provenance:
    """Return everything that a reader needs to find the run, or to compute it again."""
    run, environment = judged.run, judged.result.environment
    return Provenance(
        run_id=judged.id,
        label=judged.label,
        method_origin=run.method_origin,
        parameters=text_of(run.parameters),
        schedule=run.schedule,
        budget=run.budget or "",
        seed=run.seed,
        model=run.backbone.name,
        weights=str(run.backbone.weights),
        weights_sha256=run.backbone.weights_sha256,
        structure_sha256=run.backbone.structure_sha256,
        data=f"{run.data.name} {text_of(run.data.values)}".rstrip(),
        data_fingerprint=run.data.fingerprint,
        images=judged.result.measured.images,
        precision=run.precision,
        device=environment.device,
        batch_size=environment.batch_size,
        versions=tuple(sorted(environment.versions.items())),
        sources=tuple(sorted(run.sources.items())),
        git_revision=environment.git_revision,
        started=environment.started,
        seconds=judged.result.measured.wall_seconds,
        notes=(*run.data.notes, *environment.notes),
        command=command_of(run, environment),
    )
