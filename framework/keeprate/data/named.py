"""A data set by name, as a request has it, or a data set that is made of another one."""

from __future__ import annotations

from ..dataset import DataSet
from ..plugins.parameters import build, parse_spec
from ..plugins.registry import registry
from ..request import DataSpec


def build_data(spec: DataSpec) -> DataSet:
    """Return the data set that `spec` names, or the default one.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    if spec.built is not None:
        return spec.built
    if spec.name is not None:
        return build("data set", registry().dataset(spec.name), spec.values)
    return registry().default_dataset()()


def named_data_set(text: str) -> DataSet:
    """Return the data set that "name:parameter=value" names, as `--data` reads it; cheap.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    name, values = parse_spec(text)
    return build("data set", registry().dataset(name), values)
