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
from ..plugins.nested_data import data_source, parameters_and_places, with_inner
from ..plugins.parameters import changed_parameters, values_of
from ..plugins.registry import registry
from ..reduction.plan import Plan
from ..results.records import BackboneInfo, CalibrationInfo, DataInfo, InputInfo, RunInfo, StageInfo

if TYPE_CHECKING:
    from .comparison import Comparison


def describe(
    comparison: Comparison, plan: Plan, calibration: CalibrationInfo | None = None
) -> RunInfo:
    """Return the description of the run that follows `plan`, and of how its budget is solved."""
    method, schedule = plan.asked, plan.schedule
    sources, values = _sources(comparison, plan), values_of(method)
    return RunInfo(
        method=method.name,
        method_origin=_origin(registry().methods, type(method)),
        backbone_origin=_origin(registry().backbones, type(comparison.backbone)),
        data_origin=_data_origin(comparison),
        sources=sources,
        parameters=values,
        files=tuple(name for name in values if "method" in sources and _is_file(method, name)),
        schedule="" if schedule is None else schedule.text,
        budget=None if plan.budget is None else plan.budget.text,
        stages=tuple(
            StageInfo(block=stage.block, keep=stage.keep)
            for stage in plan.most(comparison.backbone.image_size)
        ),
        stages_sha256=_stages_sha256(plan, comparison.prepared.sizes),
        input=_input_info(plan),
        calibration=calibration,
        backbone=_backbone_info(comparison.loaded, comparison.backbone),
        data=_data_info(comparison),
        seed=getattr(method, "seed", comparison.options.seed),
        precision=comparison.options.loop.precision,
        empty_last_mlp=plan.empty_last_mlp,
        reduces=method.reduces,
    )


def label_of(method: Method, info: RunInfo) -> str:
    """Return a run's name for people: method, parameters that are not defaults, cost."""
    changed = changed_parameters(method)
    return " ".join(filter(None, [info.method, changed, info.schedule, info.budget]))


def _origin(offers: Mapping[str, Registered[Any]], cls: type) -> str:
    """Return the origin of a class: its plugin, or its module if no plugin offers it."""
    origins = (offer.origin for offer in offers.values() if offer.cls is cls)
    return next(origins, f"given ({cls.__module__})")


def _data_origin(comparison: Comparison) -> str:
    """Return the origin of the data set: of several in one another the first that is a file."""
    data_sets = with_inner(comparison.data)
    origins = [_origin(registry().datasets, type(data)) for data in data_sets]
    # packages load by themselves, and a command that repeats the run must name a file
    return next((origin for origin in origins if origin.endswith(".py")), origins[0])


def _input_info(plan: Plan) -> InputInfo | None:
    """Return the sizes of an input that is smaller than the model's own, None for any other."""
    if plan.backbone is plan.own or plan.resized is None:
        return None
    size = plan.resized.size
    return InputInfo(image_size=size.image, patch_size=size.patch)


def _sources(comparison: Comparison, plan: Plan) -> dict[str, str]:
    """Return hashes of the code of everything that a plugin may have brought."""
    # of a method that makes the input smaller, and of the one that reduces what is left
    methods = dict.fromkeys([plan.asked, plan.method])
    # a method itself, as its attributes count; others are described by their samples and weights
    hashes = {
        "method": "".join(source_sha256(method) for method in methods),
        "backbone": source_sha256(type(comparison.backbone)),
        "data set": data_source(comparison.data),
    }
    # keeprate's own classes have no hash: their code counts as ROWS_VERSION
    return {name: digest for name, digest in hashes.items() if digest}


def _is_file(method: Method, name: str) -> bool:
    value = getattr(method, name)
    return isinstance(value, Path) and value.is_file()


def unknown_code(comparison: Comparison, methods: Iterable[Method]) -> list[str]:
    """Return a line for each thing whose code cannot be read, and whose runs are thus never reused.

    It says why, and what to do.
    """
    data_sets = map(type, with_inner(comparison.data))
    things: list[Any] = [*methods, type(comparison.backbone), *data_sets]
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
    text = repr([(size, plan.most(size)) for size in sorted(sizes)])
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
    data, part = comparison.data, comparison.options.part
    # kept apart, because where the files lie is no part of the run's id
    parameters, places = parameters_and_places(data)
    return DataInfo(
        name=data.name,
        variant=data.variant,
        parameters=parameters,
        places=places,
        images=len(comparison.samples),
        fingerprint=comparison.fingerprint,
        transform=dict(comparison.prepared.transform),
        transform_changes=comparison.loaded.changes.given,
        skipped=comparison.skipped,
        part=None if part is None else (part.start, part.end, comparison.before_part),
        notes=tuple(data.notes()),
    )
