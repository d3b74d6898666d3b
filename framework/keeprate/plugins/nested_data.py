"""Parameters, paths and code of a data set, where a parameter may be another data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .code.code_hash import source_sha256
from .parameters import parameters_of, spec_text, values_of

if TYPE_CHECKING:
    from pydantic import JsonValue
    from typing_extensions import TypeIs

    from ..dataset import DataSet


def _is_data_set(value: object) -> TypeIs[DataSet]:
    from ..dataset import DataSet  # with torch, which a mistake in a request need not wait for

    return isinstance(value, DataSet)


def parameters_and_places(data: DataSet) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
    """Return the values of a data set by parameter, those that say where it lies apart.

    These are paths. Of a data set among the parameters, the text that names it is in both: without
    and with its paths.
    """
    parameters = values_of(data)
    places: dict[str, JsonValue] = {}
    for name in list(parameters):
        value = getattr(data, name)
        if _is_data_set(value):
            inner, inner_places = parameters_and_places(value)
            if inner_places:
                places[name] = parameters[name]
            parameters[name] = spec_text(value.name, inner)
        elif isinstance(value, Path):
            places[name] = parameters.pop(name)
    return parameters, places


def paths_of(data: DataSet) -> Iterator[tuple[str, Path, bool]]:
    """Yield the paths among the parameters, and whether each is required, with what is written
    before its "=": the name, or `data=imagenet:root` of a data set among the parameters.
    """
    for parameter in parameters_of(type(data)):
        value = getattr(data, parameter.name, None)
        if isinstance(value, Path):
            yield parameter.name, value, parameter.required
        elif _is_data_set(value):
            for written, path, required in paths_of(value):
                yield f"{parameter.name}={value.name}:{written}", path, required


def with_inner(data: DataSet) -> list[DataSet]:
    """Return a data set and those among its parameters, and theirs."""
    values = (getattr(data, parameter.name, None) for parameter in parameters_of(type(data)))
    inner = (value for value in values if _is_data_set(value))
    return [data, *(each for value in inner for each in with_inner(value))]


def owner_name(data: DataSet) -> str:
    """Return the name of the innermost data set, which is whose images and classifier they are."""
    return with_inner(data)[-1].name


def data_source(data: DataSet) -> str:
    """Return the hashes of the code of a data set and of those inside it, one after another."""
    return "".join(source_sha256(type(each)) for each in with_inner(data))
