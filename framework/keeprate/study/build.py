"""Build data sets, models, methods and engines from the names that a request gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..backbones.loading.load import load_model
from ..backbones.loading.loaded import LoadedModel, shipped, weights_sha256
from ..backbones.lookup import adapt
from ..data.named import build_data
from ..dataset import DataSet
from ..engine import Engine
from ..errors import KeeprateError
from ..plugins.nested_data import owner_name
from ..plugins.parameters import build, parse_spec
from ..plugins.registry import registry
from ..reduction.proof import require_proof
from ..reduction.suitability import suits
from ..request import CalibrationSpec, ModelSpec, Request, RunSpec
from .calibration import can_calibrate
from .comparison import Comparison, MethodAtCost
from .methods import build_method


def prepare(request: Request, bad: Mapping[str, str] | None = None) -> Comparison:
    """Load the data set and the model, build the methods, check everything.

    No sample is computed; the model is proved on random inputs, once per kind.

    `bad` are the samples that cannot be used, with reasons, if they are known already. Raises
    KeeprateError for everything that is unknown, missing or does not fit.
    """
    data = build_data(request.data)
    wanted = [build_run(spec, request.options.seed) for spec in request.runs]
    methods_at_cost = wanted
    loaded = build_model(request.model, data)
    if request.only_fitting:
        methods_at_cost = fitting(wanted, loaded, data, request.options.calibration)
    request_by_name = request if request.is_by_name else None
    comparison = Comparison(loaded, data, methods_at_cost, request.options, request_by_name, bad)
    needy = [run for run in wanted if run.method.keeps_per_image and run.cost.budget]
    if request.only_fitting and needy and not can_calibrate(request.options.calibration.data, data):
        comparison.notes.append(_left_out(needy))
    # last: it runs the model, and every other mistake should show before that
    require_proof(comparison.backbone)
    return comparison


def fitting(
    wanted: Sequence[MethodAtCost],
    loaded: LoadedModel,
    data: DataSet,
    calibration: CalibrationSpec,
) -> list[MethodAtCost]:
    """Return the runs whose methods suit the model and whose budgets can be solved."""
    backbone = adapt(loaded.model)
    calibrates = can_calibrate(calibration.data, data)
    return [
        run
        for run in wanted
        if suits(backbone, run.method)
        and (calibrates or run.cost.budget is None or not run.method.keeps_per_image)
    ]


def _left_out(runs: Sequence[MethodAtCost]) -> str:
    names = sorted({run.method.name for run in runs})
    return (
        f"Left out: {', '.join(names)}, whose budgets are solved on images that are not tested: "
        "name some with --calibration DATA."
    )


def build_model(spec: ModelSpec, data: DataSet) -> LoadedModel:
    """Return the model that `spec` names, or the data set's own classifier.

    Raises KeeprateError if there is neither, or if the weights do not fit.
    """
    if spec.built is not None:
        return spec.built
    if spec.name is not None:
        loaded = load_model(spec.name, weights=spec.weights, image_size=spec.image_size)
        return replace(loaded, changes=spec.changes)
    if spec.weights is not None or spec.image_size is not None:
        raise KeeprateError("--weights and --image-size need --model NAME.")
    model = data.classifier()
    if model is None:
        raise KeeprateError(f"Data set '{data.name}' ships no classifier: name a model.")
    return shipped(model, owner_name(data), weights_sha256(model))


def build_run(spec: RunSpec, seed: int) -> MethodAtCost:
    """Return the method that `spec` names, at its cost; `seed` is as for `build_method`.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    return MethodAtCost(build_method(spec, seed), spec.cost)


def build_engine(spec: str | None) -> Engine:
    """Return the engine that `name:parameter=value` names, the default one for None.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    if spec is not None:
        name, values = parse_spec(spec)
        return build("engine", registry().engine(name), values)
    for offer in registry().engines.values():
        if offer.cls.is_default:
            return offer.cls()
    raise KeeprateError("No engine is the default one here: name one with --engine.")
