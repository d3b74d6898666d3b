"""Check what a front end was told against its pydantic models, and keep the sound part of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import KeeprateError, suggestion
from ..plugins.parameters import build, parameters_of
from .problems import Problems
from .schema import DataEntry, MethodEntry, StudySpec
from .whole_numbers import value_text
from .yaml_lines import KeyPath

_WORDS = {
    "Input ": "",
    "should be": "must be",
    "is not": "must be",
    "a valid string": "text",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid path for <class 'pathlib.Path'>": "a path",
    "a valid boolean, unable to interpret input": "true or false",
    "a valid boolean": "true or false",
    "a valid tuple": "a list",
}
"""Words of pydantic's messages, and keeprate's words for them."""


def validated(ledger: Problems) -> StudySpec:
    """Return the sound part of the study; the rest is noted in the ledger.

    A refused item of a list becomes None; a refused key is left out.
    """
    data = _prepare(ledger)
    # each time without the refused parts, so that all problems of the rest show at once
    while True:
        try:
            return StudySpec.model_validate(data)
        except ValidationError as error:
            details = error.errors()
        for detail in details:
            ledger.add(_error_path(detail), _explain(detail))
            _take_out(data, detail)


def _prepare(ledger: Problems) -> dict[str, Any]:
    """Return a copy of the data without empty keys; single values become lists of one."""
    filled = {key: value for key, value in ledger.source.data.items() if value is not None}
    data: dict[str, Any] = {key: _copied(value) for key, value in filled.items()}
    for key in StudySpec.lists & data.keys():
        if not isinstance(data[key], list):
            data[key] = [data[key]]
        for index, item in enumerate(data[key]):
            if item is None:
                ledger.add((key, index), "is an empty item. Fill it or take it out.")
    return data


def _copied(value: object) -> object:
    """Return a copy of the mappings and lists; objects in them stay the same."""
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _take_out(data: dict[str, Any], error: ErrorDetails) -> None:
    """Remove what an error is about: an unknown key alone, else the item or the whole key."""
    key, *rest = error["loc"]
    if str(key) not in StudySpec.lists:
        del data[str(key)]
    elif not rest:
        data[str(key)] = [None]
    elif error["type"] != "extra_forbidden":
        data[str(key)][rest[0]] = None
    # an earlier error may have taken out the whole item
    elif data[str(key)][rest[0]] is not None:
        del data[str(key)][rest[0]][rest[1]]


def _error_path(error: ErrorDetails) -> KeyPath:
    path = error["loc"]
    return path[:-1] if error["type"] == "missing" else path


def _explain(error: ErrorDetails) -> str:
    """Return in keeprate's words what pydantic found."""
    kind, value, path = error["type"], error["input"], error["loc"]
    if kind == "extra_forbidden":
        return f"is no key here. {suggestion(str(path[-1]), _keys_beside(path))}"
    if kind == "missing":
        return f"has no {path[-1]}. Write {path[-1]}: NAME."
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "too_short":
        return "is an empty list. Name something, or leave it out."
    if kind in ("model_type", "dict_type"):
        return f"must be key: value lines, not {value_text(value)}."
    message = error["msg"]
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return f"{message}, not {value_text(value)}."


def _keys_beside(path: KeyPath) -> list[str]:
    """Return the keys that are possible where an unknown one stands."""
    model = StudySpec if len(path) == 1 else StudySpec.entries[str(path[0])]
    return model.keys()


def named_values(
    kind: str,
    cls: type[Any],
    texts: Mapping[str, str],
    entry: DataEntry | MethodEntry,
    ledger: Problems,
    path: KeyPath,
) -> dict[str, object]:
    """Return the values of an entry by parameter, those written behind the name first.

    Unknown parameters, and parameters that are given twice, are noted and left out.
    """
    parameter_names = [parameter.name for parameter in parameters_of(cls)]
    values: dict[str, object] = {}
    values_behind_name = [
        (key or next(iter(parameter_names), ""), value) for key, value in texts.items()
    ]
    for key, value in [*values_behind_name, *entry.parameters.items()]:
        key_path = (*path, "parameters", key)
        if not parameter_names:
            ledger.add(key_path, f"{kind.capitalize()} '{cls.name}' has no parameters.")
        elif key not in parameter_names:
            where = f"in {kind} '{cls.name}'"
            hint = suggestion(key, parameter_names)
            message = f"No parameter '{key}' {where}. {hint}"
            if key in texts and not hint.startswith("Did you mean"):
                message += _hint_at_quotes(cls, key)
            ledger.add(key_path, message)
        elif key in values:
            label = f"{kind.capitalize()} '{cls.name}'"
            ledger.add(key_path, f"{label}: {key} is given twice. Leave one out.")
        else:
            values[key] = value
    return values


def _hint_at_quotes(cls: type[Any], key: str) -> str:
    """Return what to do if an unknown parameter was meant as a part of another's value."""
    annotations = " ".join(parameter.annotation for parameter in parameters_of(cls))
    if "DataSet" in annotations:
        return (
            f" Another data set's parameters go in quotes with it: '{cls.name}:\"NAME:{key}=...\"'."
        )
    return f" A path with = goes in quotes: '{cls.name}:\"PATH\"'." if "Path" in annotations else ""


def refused(
    kind: str, cls: type[Any], values: Mapping[str, object]
) -> list[tuple[str | None, str]]:
    """Return every reason why a `cls` cannot be constructed from `values`.

    Each reason comes with the parameter to blame, None if it is no single one.
    """
    required = {parameter.name for parameter in parameters_of(cls) if parameter.required}
    reasons: list[tuple[str | None, str]] = []
    remaining = dict(values)
    # `build` stops at the first problem: the blamed value is left out, and it is tried again
    while True:
        try:
            build(kind, cls, remaining)
        except KeeprateError as error:
            message = str(error)
        else:
            return reasons
        # `build` begins a message with the label and the parameter, "Method 'tome': r must be"
        match = re.match(r"[^:]*: (\w+)", message)
        blamed = match[1] if match and match[1] in remaining else None
        reasons.append((blamed, message))
        if blamed is None or blamed in required:  # no value can be left out
            return reasons
        del remaining[blamed]


def missing(cls: type[Any], values: Mapping[str, object]) -> list[str]:
    """Return the names of the parameters that need a value and have none."""
    return [
        parameter.name
        for parameter in parameters_of(cls)
        if parameter.required and parameter.name not in values
    ]
