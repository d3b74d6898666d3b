"""A data set by name, for data sets that are made of another one."""

from __future__ import annotations

from ..dataset import DataSet
from ..plugins.parameters import build, parse_spec
from ..plugins.registry import registry


def named_data_set(text: str) -> DataSet:
    """Return the data set that "name:parameter=value" names, as `--data` reads it; cheap.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    name, values = parse_spec(text)
    return build("data set", registry().dataset(name), values)
