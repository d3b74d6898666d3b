"""Models times data sets of a study, and which runs of the grid each pair has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset import DataSet
from ..errors import KeeprateError
from ..plugins.parameters import Parameter, build, parameters_of, parse_spec, values_of
from ..plugins.registry import registry
from ..request import DataSpec, ModelSpec
from .grid import SEED, GridRun
from .problems import Problems
from .schema import DataEntry, Exclusion, StudyContent
from .validate import missing, named_values, refused
from .yaml_lines import KeyPath


@dataclass(frozen=True)
class NamedModel:
    """A model by name, and where in the study it stands."""

    spec: ModelSpec
    path: KeyPath


@dataclass(frozen=True)
class NamedData:
    """A data set by name, its class, and where in the study it stands."""

    spec: DataSpec
    cls: type[DataSet]
    path: KeyPath

    def make(self) -> DataSet:
        """Construct it: cheap, nothing is read."""
        return build("data set", self.cls, self.spec.values)


@dataclass(frozen=True)
class Pair:
    """A model on a data set, with the runs that are not excluded.

    Without data, the study has none that could be used, and the model is checked alone.
    """

    model: NamedModel
    data: NamedData | None
    points: tuple[GridRun, ...]


def pairs_of(content: StudyContent, points: Sequence[GridRun], ledger: Problems) -> list[Pair]:
    """Return every model on every data set. What cannot be, and idle exclusions, are noted."""
    models, datas = _models(content), _datas(content, ledger) or [None]
    exclusions = [(i, each) for i, each in enumerate(content.exclude) if each is not None]
    idle = dict(exclusions)
    pairs = []
    for model in models:
        for data in datas:
            left = []
            for point in points:
                hits = [i for i, each in exclusions if _excludes(each, model, data, point)]
                left += [] if hits else [point]
                for place in hits:
                    idle.pop(place, None)
            if left or not points:
                pairs.append(Pair(model, data, tuple(left)))
    if not ledger.problems:  # what is left out for its mistakes cannot be matched
        for place in idle:
            ledger.add(("exclude", place), "matches no run. Mend it or take it out.")
        if models and not pairs:
            ledger.add(("exclude",), "leaves nothing to run. Exclude less.")
    return pairs


def _models(content: StudyContent) -> list[NamedModel]:
    """The models written down; one without a name is the data set's own classifier."""
    if content.models is None:
        return [NamedModel(ModelSpec(), ("models",))]
    found: dict[ModelSpec, NamedModel] = {}
    for place, each in enumerate(content.models):
        if each is not None:
            spec = ModelSpec(each.name, each.weights, each.image_size)
            found.setdefault(spec, NamedModel(spec, ("models", place)))
    return list(found.values())


def _datas(content: StudyContent, ledger: Problems) -> list[NamedData | None]:
    if content.data is None:
        with ledger.at(("data",)):
            return [NamedData(DataSpec(), registry().embedded_dataset(), ("data",))]
        return []
    found: list[NamedData | None] = []
    for place, entry in enumerate(content.data):
        data = None if entry is None else _data(entry, ("data", place), ledger)
        if data is not None and data.spec not in [each.spec for each in found if each]:
            found.append(data)
    return found


def _data(entry: DataEntry, path: KeyPath, ledger: Problems) -> NamedData | None:
    """Look a data set up and check its parameters, and that the files it needs are there."""
    with ledger.at((*path, "name")):
        name, texts = parse_spec(entry.name)
        cls = registry().dataset(name)
        values = named_values("data set", cls, texts, entry, ledger, path)
        if lacking := missing(cls, values):
            ledger.add(path, _how_to_give(cls, lacking, ledger, path, alone=not values))
            return None
        problems = refused("data set", cls, values)
        for blamed, said in problems:
            ledger.add(path if blamed is None else (*path, "parameters", blamed), said)
        found = NamedData(DataSpec(name, values), cls, path)
        if not problems and _has_its_files(found, ledger):
            return found
    return None


def _how_to_give(
    cls: type[Any], lacking: Sequence[str], ledger: Problems, path: KeyPath, *, alone: bool
) -> str:
    """Say how to give a data set the parameters it cannot do without."""
    needs = f"Data set '{cls.name}' needs {' and '.join(lacking)}:"
    parameters = {each.name: each for each in parameters_of(cls)}
    key = ".".join(map(str, ledger.written(path)))
    if alone and len(lacking) == 1:
        return f"{needs} --set {key}={cls.name}:{_placeholder(parameters[lacking[0]])}."
    lines = ", ".join(f"{name}: {_placeholder(parameters[name])}" for name in lacking)
    return f"{needs} write parameters: {{{lines}}}."


def _placeholder(parameter: Parameter) -> str:
    if parameter.annotation != "Path":
        return parameter.name.upper()
    return "FILE" if "file" in parameter.name else "FOLDER"


def _has_its_files(data: NamedData, ledger: Problems) -> bool:
    """Tell whether the paths a data set cannot do without are there."""
    made, there = data.make(), True
    for each in parameters_of(data.cls):
        place = getattr(made, each.name, None)
        if each.required and isinstance(place, Path) and not place.exists():
            said = f"There is no '{place}'. Relative paths begin at the working directory."
            ledger.add((*data.path, "parameters", each.name), said)
            there = False
    return there


def _excludes(each: Exclusion, model: NamedModel, data: NamedData | None, point: GridRun) -> bool:
    """Tell whether everything that an exclusion says is so."""
    cost = point.spec.cost
    said = [
        (each.method, point.spec.method),
        (each.model, model.spec.name),
        (each.data, None if data is None else data.cls.name),
        (each.budget, cost.budget),
        (each.schedule, cost.schedule),
        (each.seed, point.values.get(SEED)),
    ]
    return all(wanted is None or value in wanted for wanted, value in said) and all(
        _has(point, name, value) for name, value in each.parameters.items()
    )


def _has(point: GridRun, name: str, value: object) -> bool:
    """Tell whether a run's parameter has this value, however it is spelled."""
    if name not in point.values:
        return False
    try:
        method = build("method", type(point.method), {**point.values, name: value})
    except KeeprateError:
        return False
    return values_of(method)[name] == point.values[name]
