"""Pair the models of a study with its data sets, and choose the runs of each pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from ..errors import KeeprateError
from ..plugins.nested_data import paths_of
from ..plugins.parameters import Parameter, build, parameters_of, parse_spec, values_of
from ..plugins.registry import registry
from ..request import DataSpec, ModelSpec
from .axes import axes_of, combinations, takes, too_many_runs
from .grid import GridRun
from .methods import SEED
from .problems import Problems
from .schema import DataEntry, Exclusion, StudySpec
from .validate import missing, named_values
from .yaml_lines import KeyPath

if TYPE_CHECKING:
    from ..dataset import DataSet


@dataclass(frozen=True)
class NamedModel:
    """A model by name, or as given, and its key path in the study."""

    spec: ModelSpec
    path: KeyPath


@dataclass(frozen=True)
class NamedData:
    """A data set by name, or as given, its class, and its key path in the study."""

    spec: DataSpec
    cls: type[DataSet]
    path: KeyPath

    def make(self) -> DataSet:
        """Return the data set. This is cheap: nothing is read."""
        return self.spec.built or build("data set", self.cls, self.spec.values)


@dataclass(frozen=True)
class Pair:
    """A model on a data set, with the runs that are not excluded.

    `data` is None if no data set of the study can be used; then the model is checked alone.
    """

    model: NamedModel
    data: NamedData | None
    points: tuple[GridRun, ...]


def pairs_of(content: StudySpec, points: Sequence[GridRun], ledger: Problems) -> list[Pair]:
    """Return every model on every data set. Note impossible ones and idle exclusions."""
    models, datas = _models(content), _data_sets(content, ledger) or [None]
    lengths = {"models": len(models), "data": len(datas), "methods": len(points)}
    if prod(lengths.values()) > content.most_runs:
        longest = max(lengths, key=lambda name: lengths[name])
        message = too_many_runs(prod(lengths.values()), lengths, content.most_runs)
        ledger.add((longest,), message)
        raise ledger.error()
    exclusions = [
        (index, exclusion)
        for index, exclusion in enumerate(content.exclude)
        if exclusion is not None
    ]
    idle = dict(exclusions)
    pairs = []
    for model in models:
        for data in datas:
            remaining = []
            for point in points:
                matching = [
                    index
                    for index, exclusion in exclusions
                    if _excludes(exclusion, model, data, point)
                ]
                remaining += [] if matching else [point]
                for index in matching:
                    idle.pop(index, None)
            if remaining or not points:
                pairs.append(Pair(model, data, tuple(remaining)))
    if not ledger.problems:  # a run that is left out for its mistakes matches no exclusion
        for index in idle:
            ledger.add(("exclude", index), "matches no run. Mend it or take it out.")
        if models and not pairs:
            ledger.add(("exclude",), "leaves nothing to run. Exclude less.")
    return pairs


def _models(content: StudySpec) -> list[NamedModel]:
    """Return the models of the study; one without a name is the data set's own classifier."""
    if content.models is None:
        return [NamedModel(ModelSpec(), ("models",))]
    models_by_spec: dict[ModelSpec, NamedModel] = {}
    for index, entry in enumerate(content.models):
        if entry is not None:
            spec = ModelSpec(entry.name, entry.weights, entry.image_size, changes=entry.changes)
            if entry.given is not None:
                spec = ModelSpec(built=entry.given)
            models_by_spec.setdefault(spec, NamedModel(spec, ("models", index)))
    return list(models_by_spec.values())


def _data_sets(content: StudySpec, ledger: Problems) -> list[NamedData | None]:
    if content.data is None:
        with ledger.at(("data",)):
            return [NamedData(DataSpec(), registry().default_dataset(), ("data",))]
        return []
    named_data: list[NamedData | None] = []
    most = content.most_runs
    for index, entry in enumerate(content.data):
        for data in () if entry is None else _look_up_data(entry, ("data", index), ledger, most):
            if data.spec not in [other.spec for other in named_data if other]:
                named_data.append(data)
    return named_data


def calibration_of(content: StudySpec, ledger: Problems) -> NamedData | None:
    """Return the data set that budgets are to be solved on; None without one, or if it is wrong."""
    if content.calibration is None:
        return None
    path = ("calibration",)
    found = _look_up_data(content.calibration, path, ledger, content.most_runs)
    if len(found) > 1:
        ledger.add(path, "is one data set: give each of its parameters one value.")
    return found[0] if len(found) == 1 else None


def _look_up_data(entry: DataEntry, path: KeyPath, ledger: Problems, most: int) -> list[NamedData]:
    """Look up the data sets that an entry stands for: one for each combination of its axes.

    Their parameters are checked, and that the files that they need exist.
    """
    if entry.given is not None:
        return [NamedData(DataSpec(entry.name, built=entry.given), type(entry.given), path)]
    with ledger.at((*path, "name")):
        name, texts = parse_spec(entry.name)
        cls = registry().dataset(name)
        values = named_values("data set", cls, texts, entry, ledger, path)
        if lacking_names := missing(cls, values):
            ledger.add(path, _explain_lacking(cls, lacking_names, ledger, path, alone=not values))
            return []
        axes = axes_of(cls, values, ledger, path)
        lengths = {name: len(axis) for name, axis in axes.items()}
        if prod(lengths.values()) > most:
            ledger.add(path, too_many_runs(prod(lengths.values()), lengths, most))
            return []
        found = (NamedData(DataSpec(name, each), cls, path) for each in combinations(axes, ()))
        return [
            data
            for data in found
            if takes("data set", cls, data.spec.values, axes, ledger, path)
            and _files_exist(data, ledger)
        ]
    return []


def _explain_lacking(
    cls: type[Any], lacking_names: Sequence[str], ledger: Problems, path: KeyPath, *, alone: bool
) -> str:
    """Return a message that says how to give a data set the parameters that it lacks."""
    needs = f"Data set '{cls.name}' needs {' and '.join(lacking_names)}:"
    parameters = {parameter.name: parameter for parameter in parameters_of(cls)}
    if alone and len(lacking_names) == 1:
        text = f"{cls.name}:{_placeholder(parameters[lacking_names[0]])}"
        return f"{needs} {ledger.source.assignment(path, text)}."
    values = ",".join(f"{name}={_placeholder(parameters[name])}" for name in lacking_names)
    return f"{needs} {f'write {cls.name}:' if alone else 'add '}{values}."


def _placeholder(parameter: Parameter) -> str:
    if parameter.annotation != "Path":
        return parameter.name.upper()
    return "FILE" if "file" in parameter.name else "FOLDER"


def _files_exist(data: NamedData, ledger: Problems) -> bool:
    """Tell whether the required paths of a data set exist."""
    all_exist = True
    for written, file, required in paths_of(data.make()):
        if required and not file.exists():
            message = f"There is no '{file}'. Relative paths begin at the working directory."
            if (
                "=" not in written and len(data.spec.values) > 1
            ):  # which a comma in a path may have made several
                message += f" A path with a comma and = goes in quotes: '{data.cls.name}:\"PATH\"'."
            ledger.add((*data.path, "parameters", written.partition("=")[0]), message)
            all_exist = False
    return all_exist


def _excludes(
    exclusion: Exclusion, model: NamedModel, data: NamedData | None, point: GridRun
) -> bool:
    """Tell whether a run matches every key of an exclusion."""
    cost = point.spec.cost
    conditions = [
        (exclusion.method, point.spec.method),
        (exclusion.model, model.spec.name),
        (exclusion.data, None if data is None else data.cls.name),
        (exclusion.budget, cost.budget),
        (exclusion.schedule, cost.schedule),
        (exclusion.seed, point.values.get(SEED)),
    ]
    return all(values is None or value in values for values, value in conditions) and all(
        _has_value(point, name, value) for name, value in exclusion.parameters.items()
    )


def _has_value(point: GridRun, name: str, value: object) -> bool:
    """Tell whether a run's parameter has this value, however it is spelled."""
    if name not in point.values:
        return False
    # built, because "30,5" and [30, 5] are one value only after conversion
    try:
        method = build("method", type(point.method), {**point.values, name: value})
    except KeeprateError:
        return False
    return values_of(method)[name] == point.values[name]
