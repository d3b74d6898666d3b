"""Build the request that computes a stored run again, from the description of that run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..request import (
    PREFIX,
    CalibrationSpec,
    Cost,
    DataSpec,
    InputChanges,
    LoopOptions,
    ModelSpec,
    Options,
    Part,
    Request,
    RunSpec,
)
from ..results.records import BackboneInfo, CalibrationInfo, DataInfo, RunInfo
from ..results.weights_origin import WeightsKind


def request_of(run: RunInfo, batch_size: int = LoopOptions.batch_size) -> Request:
    """Return the request that computes this run again.

    Folders of data are named in full. Weights and models of transformers are named by the last
    part of their path, because the description keeps no more of it.
    """
    data = run.data
    return Request(
        model=replace(model_spec_of(run.backbone), changes=changes_of(data)),
        data=DataSpec(data.name, data.values),
        runs=(RunSpec(run.method, run.parameters, Cost(run.schedule or None, run.budget)),),
        options=Options(
            LoopOptions(batch_size=batch_size, precision=run.precision),
            # a method that takes a seed has it among its parameters; this option is for the others
            seed=0 if "seed" in run.parameters else run.seed,
            limit=data.part[2] if data.part else data.images,
            part=Part(*data.part[:2]) if data.part else None,
            skip_bad=bool(data.skipped),
            empty_last_mlp=run.empty_last_mlp,
            calibration=_calibration(run.calibration),
        ),
    )


def _calibration(info: CalibrationInfo | None) -> CalibrationSpec:
    if info is None:
        return CalibrationSpec()
    data = None if info.is_own else DataSpec(info.data, info.parameters)
    return CalibrationSpec(data, info.images, info.seed)


def changes_of(data: DataInfo) -> InputChanges:
    """Return the changes to how images are prepared that a stored run was asked for with."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in data.transform_changes.items()
    }
    return InputChanges(**values)


def model_spec_of(backbone: BackboneInfo, name: str | None = None) -> ModelSpec:
    """Return the spec of a stored model, under another `name` if one is given.

    The size of images is always named: the description does not keep the model's own size, and
    naming that one changes nothing. Models of transformers fix their size and bring their weights.
    Random weights and those of a model that was given are in no file: FILE (or, of transformers,
    FOLDER) stands for the one that they have to be saved in.
    """
    model_name = name or backbone.name
    origin = backbone.weights
    if model_name.startswith(PREFIX):
        is_unsaved = origin.kind in (WeightsKind.RANDOM, WeightsKind.GIVEN)
        return ModelSpec(f"{PREFIX}FOLDER" if is_unsaved and name is None else model_name)
    if name is None and origin.kind is WeightsKind.SHIPPED:
        return ModelSpec()
    file = origin.name if origin.kind is WeightsKind.FILE else "FILE"
    weights = None if origin.kind is WeightsKind.PRETRAINED else Path(file)
    size = backbone.image_size if backbone.samples == "images" else None
    return ModelSpec(model_name, weights, size)
