"""From the description of a run to what must be asked for to get that run once more."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..request import PREFIX, Cost, DataSpec, LoopOptions, ModelSpec, Options, Request, RunSpec
from ..results.records import BackboneInfo, RunInfo

_SHIPPED: Final = "shipped with "
_PRETRAINED: Final = "pretrained"


def request_of(run: RunInfo, batch_size: int = LoopOptions.batch_size) -> Request:
    """Return the request that has this run, of which the description holds all that counts.

    Files are named as they are there: places of data as they were, weights and transformers' models
    by the last part of their path, which is all that is kept of it.
    """
    data = run.data
    return Request(
        model=model_spec_of(run.backbone),
        data=DataSpec(data.name, {**data.places, **data.parameters}),
        runs=(RunSpec(run.method, run.parameters, Cost(run.schedule or None, run.budget)),),
        options=Options(
            LoopOptions(batch_size=batch_size, precision=run.precision),
            seed=0 if "seed" in run.parameters else run.seed,
            limit=data.images,
            skip_bad=bool(data.skipped),
            empty_last_mlp=run.empty_last_mlp,
        ),
    )


def model_spec_of(backbone: BackboneInfo, name: str | None = None) -> ModelSpec:
    """Return how to ask for a model, which may have another `name` now.

    The size of images is always named: the model's own is not kept, and naming that changes
    nothing. Models of transformers have a size that cannot be set, and weights of their own.
    """
    asked = name or backbone.name
    if asked.startswith(PREFIX):
        return ModelSpec(asked)
    if name is None and backbone.weights.startswith(_SHIPPED):
        return ModelSpec()
    weights = None if backbone.weights == _PRETRAINED else Path(backbone.weights)
    size = backbone.image_size if backbone.samples == "images" else None
    return ModelSpec(asked, weights, size)
