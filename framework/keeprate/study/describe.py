"""Describe a run in full, from what its comparison has planned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backbone import Backbone
from ..backbones.loading.loaded import LoadedModel
from ..backbones.loading.structure_hash import structure_sha256
from ..method import Method
from ..plugins.code.code_hash import hash_code, source_sha256
from ..plugins.kinds import Registered
from ..plugins.parameters import parameters_of, values_of
from ..plugins.registry import registry
from ..reduction.plan import Plan
from ..results.labels import text_of
from ..results.records import BackboneInfo, DataInfo, RunInfo, StageInfo

if TYPE_CHECKING:
    from .comparison import Comparison


def describe(comparison: Comparison, plan: Plan) -> RunInfo:
    """Return the description of the run that follows `plan`."""
    method, schedule = plan.method, plan.schedule
    return RunInfo(
        method=method.name,
        method_origin=_origin(registry().methods, type(method)),
        backbone_origin=_origin(registry().backbones, type(comparison.backbone)),
        data_origin=_origin(registry().datasets, type(comparison.data)),
        sources=_sources(comparison, method),
        parameters=values_of(method),
        schedule="" if schedule is None else schedule.text,
        budget=None if plan.budget is None else plan.budget.text,
        stages=tuple(
            StageInfo(block=stage.block, keep=stage.keep)
            for stage in plan.stages(comparison.backbone.image_size)
        ),
        stages_sha256=_stages_sha256(plan, comparison.prepared.sizes),
        backbone=_backbone_info(comparison.loaded, comparison.backbone),
        data=_data_info(comparison),
        seed=getattr(method, "seed", comparison.options.seed),
        precision=comparison.options.loop.precision,
        empty_last_mlp=plan.empty_last_mlp,
        reduces=method.reduces,
    )


def label_of(method: Method, info: RunInfo) -> str:
    """Return a run's name for people: method, parameters that are not defaults, cost."""
    changed = {
        parameter.name: info.parameters[parameter.name]
        for parameter in parameters_of(type(method))
        if getattr(method, parameter.name) != parameter.default
    }
    return " ".join(filter(None, [info.method, text_of(changed), info.schedule, info.budget]))


def _origin(offers: Mapping[str, Registered[Any]], cls: type) -> str:
    """Return the origin of a class: its plugin, or its module if no plugin offers it."""
    origins = (offer.origin for offer in offers.values() if offer.cls is cls)
    return next(origins, f"given ({cls.__module__})")


def _sources(comparison: Comparison, method: Method) -> dict[str, str]:
    """Return hashes of the code of everything that a plugin may have brought."""
    things = {"method": method, "backbone": comparison.backbone, "data set": comparison.data}
    # a method itself, as its attributes count; others are described by their samples and weights
    hashes = {
        name: source_sha256(thing if thing is method else type(thing))
        for name, thing in things.items()
    }
    # keeprate's own classes have no hash: their code counts as ROWS_VERSION
    return {name: digest for name, digest in hashes.items() if digest}


def unknown_code(comparison: Comparison, methods: Iterable[Method]) -> list[str]:
    """Return a line for each thing whose code cannot be read, and whose runs are thus never reused.

    It says why, and what to do.
    """
    things: list[Any] = [*methods, type(comparison.backbone), type(comparison.data)]
    return [
        f"Runs with {thing.name} are computed anew each time, as its code cannot be compared: "
        f"{reason}."
        for thing in things
        for reason in hash_code(thing).unknown[:1]
    ]


def _stages_sha256(plan: Plan, sizes: Mapping[tuple[int, int], int]) -> str:
    """Return a hash of the stages for every size of sample, "" if all have one size."""
    if len(sizes) == 1:
        return ""
    # sorted, so that the order of the samples does not count
    text = repr([(size, plan.stages(size)) for size in sorted(sizes)])
    return hashlib.sha256(text.encode()).hexdigest()


def _backbone_info(loaded: LoadedModel, backbone: Backbone) -> BackboneInfo:
    model = loaded.model
    return BackboneInfo(
        name=loaded.name,
        cls=f"{type(model).__module__}.{type(model).__qualname__}",
        weights=loaded.weights,
        weights_sha256=loaded.weights_sha256,
        structure_sha256=structure_sha256(model),
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        image_size=backbone.image_size,
    )


def _data_info(comparison: Comparison) -> DataInfo:
    data = comparison.data
    values = values_of(data)
    # kept apart, because where the files lie is no part of the run's id
    path_names = {name for name in values if isinstance(getattr(data, name), Path)}
    return DataInfo(
        name=data.name,
        parameters={name: value for name, value in values.items() if name not in path_names},
        places={name: value for name, value in values.items() if name in path_names},
        images=len(comparison.samples),
        fingerprint=comparison.fingerprint,
        transform=dict(comparison.prepared.transform),
        transform_changes=comparison.loaded.changes.given,
        skipped=comparison.skipped,
        notes=tuple(data.notes()),
    )
