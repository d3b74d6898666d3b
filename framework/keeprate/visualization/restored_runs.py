"""Restore finished runs: the model, the data and the methods that their store names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..analysis.rerun import changes_of, model_spec_of, request_of
from ..backbone import Backbone
from ..backbones.loading.loaded import LoadedModel
from ..data.named import build_data
from ..dataset import DataSet
from ..errors import KeeprateError
from ..plugins.nested_data import paths_of
from ..plugins.parameters import parameters_of
from ..plugins.registry import registry
from ..reduction.plan import Plan, make_plan
from ..request import PREFIX, DataSpec, ModelSpec
from ..results.records import BackboneInfo, RunInfo
from ..study.build import build_model, build_run
from ..study.comparison import Comparison
from ..study.describe import describe
from .image_selection import ImageSource


@dataclass(frozen=True)
class RunFiles:
    """Where to find the files that a store names without a folder, or that have moved since.

    `weights` are a file, or a folder that holds files of the stored names. Whatever is None, or is
    of another data set, is looked for where the runs had it.
    """

    model: str | None = None
    weights: Path | None = None
    data: DataSpec | None = None


@dataclass(frozen=True)
class RestoredRuns:
    """Where samples come from, a plan for each run by its id, and a line for each change since.

    `source` has the model of all these runs.
    """

    source: ImageSource
    plans: Mapping[str, Plan]
    changes: tuple[str, ...]


def restore_runs(runs: Sequence[RunInfo], places: RunFiles) -> RestoredRuns:
    """Build the model, the data and the plans of finished runs of one model on the same images.

    Raises KeeprateError for data and weights that are not found (it names the option to give), for
    weights that are not those of the runs, for models of texts, and for methods that are not
    registered.
    """
    first = runs[0]
    if first.backbone.samples == "texts":
        raise KeeprateError(
            f"Model '{first.backbone.name}' reads texts: there are no patches to draw."
        )
    data = _restore_data(first, places)
    loaded = _restore_model(first, places, data)
    options = request_of(first).options
    # samples skipped then are skipped now: which samples are spread over, and the id, depend on it
    comparison = Comparison(loaded, data, [], options, bad=first.data.skipped)
    plans = {run.id: _restore_plan(run, comparison.backbone) for run in runs}
    now = [describe(comparison, plans[run.id], run.calibration) for run in runs]
    changes = [_describe_changes(*both) for both in zip(runs, now, strict=True)]
    source = ImageSource(loaded, comparison.backbone, data)
    return RestoredRuns(source, plans, tuple(line for line in changes if line))


def _restore_data(run: RunInfo, files: RunFiles) -> DataSet:
    name, stored_places = run.data.name, set(run.data.places)
    spec = files.data
    values: dict[str, object] = dict(run.data.values)
    if spec is not None and spec.name == name:
        parameters = [parameter.name for parameter in parameters_of(registry().dataset(name))]
        # a value without a key, as in `--data NAME:PATH`, is the first parameter
        moved = {(key or next(iter(parameters), "")): value for key, value in spec.values.items()}
        values |= moved
        stored_places -= moved.keys()
    data = build_data(DataSpec(name, values))
    for written, path, _ in paths_of(data):
        if written.partition("=")[0] in stored_places and not path.exists():
            raise KeeprateError(
                f"Data set '{name}' of these runs was in '{path}', which is not there: say where "
                f"it is with --data {name}:{written}=PATH."
            )
    return data


def _restore_model(run: RunInfo, files: RunFiles, data: DataSet) -> LoadedModel:
    backbone = run.backbone
    spec = replace(model_spec_of(backbone, files.model), changes=changes_of(run.data))
    if spec.name is None:
        loaded = build_model(spec, data)
    else:
        loaded = _build_named_model(_with_weights(spec, files.weights, backbone), data)
    # other weights are an error, not a warning: their pictures would be those of another model
    if loaded.weights_sha256 != backbone.weights_sha256:
        raise KeeprateError(
            f"'{loaded.name}' with {loaded.weights} is not the model of these runs: theirs is "
            f"'{backbone.name}' with {backbone.weights} (SHA-256 {backbone.weights_sha256[:12]}). "
            "Say where it is with --model and --weights."
        )
    return loaded


def _build_named_model(spec: ModelSpec, data: DataSet) -> LoadedModel:
    try:
        return build_model(spec, data)
    except KeeprateError as error:
        raise KeeprateError(f"{error} Say where it is now with --model and --weights.") from error


def _with_weights(spec: ModelSpec, weights: Path | None, backbone: BackboneInfo) -> ModelSpec:
    """Return `spec` with the file of its weights; folders of transformers hold their own."""
    stored = spec.weights
    if weights is not None and weights.is_dir():
        weights = None if stored is None else weights / stored
    if spec.name is None or spec.name.startswith(PREFIX):
        return spec
    if weights is None and stored is not None and not stored.is_file():
        raise KeeprateError(
            f"The weights of '{spec.name}', {backbone.weights}, are not here: say where with "
            "--weights FILE, or the folder they are in."
        )
    return replace(spec, weights=weights or stored)


def _restore_plan(run: RunInfo, backbone: Backbone) -> Plan:
    request = request_of(run)
    (spec,), options = request.runs, request.options
    method = build_run(spec, options.seed).method
    plan = make_plan(
        backbone,
        method,
        spec.cost.schedule,
        spec.cost.budget,
        empty_last_mlp=options.empty_last_mlp,
    )
    if run.calibration is not None and run.calibration.scale is not None:
        plan.settle(run.calibration.scale)
    return plan


def _describe_changes(run: RunInfo, now: RunInfo) -> str:
    """Return a line on the parts of a run that are not as they were; "" if none has changed."""
    # the id hashes all that can change the rows, also what the parts below do not name
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
    changed_parts = [name for name, (before, after) in parts.items() if before != after]
    return f"{run.id} is not built as it was run: other {', '.join(changed_parts) or 'settings'}"
