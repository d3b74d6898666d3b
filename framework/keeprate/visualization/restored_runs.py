"""Finished runs made ready again: the model, the data and the methods that their store names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..analysis.rerun import model_spec_of, request_of
from ..backbone import Backbone
from ..backbones.loading.loaded import LoadedModel
from ..dataset import DataSet
from ..errors import KeeprateError
from ..plugins.parameters import parameters_of
from ..plugins.registry import registry
from ..reduction.plan import Plan, make_plan
from ..request import PREFIX, DataSpec, ModelSpec
from ..results.records import RunInfo
from ..study.build import build_data, build_model, build_run
from ..study.comparison import Comparison
from ..study.describe import describe
from .image_selection import ImageSource


@dataclass(frozen=True)
class RunFiles:
    """Where to find what a store names without saying where it is, or where it is no longer.

    `weights` are a file, or a folder that holds files of the stored names. Whatever is None, or is
    of another data set, is looked for where the runs had it.
    """

    model: str | None = None
    weights: Path | None = None
    data: DataSpec | None = None


@dataclass(frozen=True)
class RestoredRuns:
    """Where samples come from, a plan for each run by its id, and lines on what is not as it was.

    `source` has the model that all of the runs are of.
    """

    source: ImageSource
    plans: Mapping[str, Plan]
    changes: tuple[str, ...]


def restore_runs(runs: Sequence[RunInfo], places: RunFiles) -> RestoredRuns:
    """Make ready again runs of one model on the same images.

    Raises KeeprateError, with the option that says where it is, for data and weights that are not
    found, for weights that are not those of the runs, for models of texts, and for methods that
    are not registered.
    """
    first = runs[0]
    if first.backbone.samples == "texts":
        raise KeeprateError(
            f"Model '{first.backbone.name}' reads texts: there are no patches to draw."
        )
    data = _data(first, places)
    loaded = _model(first, places, data)
    options = request_of(first).options
    comparison = Comparison(loaded, data, [], options, bad=first.data.skipped)
    plans = {run.id: _plan(run, comparison.backbone) for run in runs}
    changes = [_changes(run, describe(comparison, plans[run.id])) for run in runs]
    source = ImageSource(loaded, comparison.backbone, data)
    return RestoredRuns(source, plans, tuple(line for line in changes if line))


def _data(run: RunInfo, places: RunFiles) -> DataSet:
    name, stored = run.data.name, dict(run.data.places)
    given, values = places.data, dict(request_of(run).data.values)
    if given is not None and given.name == name:
        own = [each.name for each in parameters_of(registry().dataset(name))]
        named = {(key or next(iter(own), "")): value for key, value in given.values.items()}
        values |= named
        stored = {key: value for key, value in stored.items() if key not in named}
    for key, place in stored.items():
        if not Path(str(place)).exists():
            raise KeeprateError(
                f"Data set '{name}' of these runs was in '{place}', which is not there: say where "
                f"it is with --data {name}:{key}=PATH."
            )
    return build_data(DataSpec(name, values))


def _model(run: RunInfo, places: RunFiles, data: DataSet) -> LoadedModel:
    backbone = run.backbone
    spec = model_spec_of(backbone, places.model)
    if spec.name is None:
        loaded = build_model(spec, data)
    else:
        loaded = _loaded(_with_weights(spec, places.weights), data)
    if loaded.weights_sha256 != backbone.weights_sha256:
        raise KeeprateError(
            f"'{loaded.name}' with {loaded.weights} is not the model of these runs: theirs is "
            f"'{backbone.name}' with {backbone.weights} (SHA-256 {backbone.weights_sha256[:12]}). "
            "Say where it is with --model and --weights."
        )
    return loaded


def _loaded(spec: ModelSpec, data: DataSet) -> LoadedModel:
    try:
        return build_model(spec, data)
    except KeeprateError as error:
        raise KeeprateError(f"{error} Say where it is now with --model and --weights.") from error


def _with_weights(spec: ModelSpec, given: Path | None) -> ModelSpec:
    """The same with the file that its weights are in now; models of transformers have their own."""
    stored = spec.weights
    if given is not None and given.is_dir():
        given = None if stored is None else given / stored
    if spec.name is None or spec.name.startswith(PREFIX):
        return spec
    if given is None and stored is not None and not stored.is_file():
        raise KeeprateError(
            f"The weights of '{spec.name}', {stored}, are not here: say where with --weights FILE, "
            "or the folder they are in."
        )
    return replace(spec, weights=given or stored)


def _plan(run: RunInfo, backbone: Backbone) -> Plan:
    request = request_of(run)
    (spec,), options = request.runs, request.options
    method = build_run(spec, options.seed).method
    return make_plan(
        backbone,
        method,
        spec.cost.schedule,
        spec.cost.budget,
        empty_last_mlp=options.empty_last_mlp,
    )


def _changes(run: RunInfo, now: RunInfo) -> str:
    """A line on the parts of a run that are not what they were, "" if all are."""
    if run.id == now.id:
        return ""
    parts = {
        "code of plugins": (run.sources, now.sources),
        "parameters": (run.parameters, now.parameters),
        "stages": (run.stages, now.stages),
        "structure of the model": (run.backbone.structure_sha256, now.backbone.structure_sha256),
        "image size": (run.backbone.image_size, now.backbone.image_size),
        "samples": (run.data.fingerprint, now.data.fingerprint),
        "number of samples": (run.data.images, now.data.images),
        "transform": (run.data.transform, now.data.transform),
    }
    other = [name for name, (before, after) in parts.items() if before != after]
    return f"{run.id} is not built as it was run: other {', '.join(other) or 'settings'}"
