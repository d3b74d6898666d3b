"""Check the data of a study against its pydantic models, and go on with what is sound of it."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ..errors import KeeprateError, suggestion
from ..plugins.parameters import build, parameters_of
from .problems import Problems
from .schema import DataEntry, MethodEntry, StudyContent
from .yaml_lines import KeyPath

_LONGEST = 40
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
"""pydantic's words, and ours for them."""


def validated(ledger: Problems) -> StudyContent:
    """Return what the study says, without what does not fit: that is noted in the ledger.

    A refused item of a list is None; a refused key is as if it were not there.
    """
    data = _prepared(ledger)
    while True:
        try:
            return StudyContent.model_validate(data)
        except ValidationError as error:
            found = error.errors()
        for each in found:
            ledger.add(_path(each), _said(each))
            _take_out(data, each)


def _prepared(ledger: Problems) -> dict[str, Any]:
    """A copy of the data without keys left empty, single values made lists of one."""
    filled = {key: value for key, value in ledger.data.items() if value is not None}
    data = copy.deepcopy(filled)
    for key in StudyContent.lists & data.keys():
        if not isinstance(data[key], list):
            data[key] = [data[key]]
        for place, item in enumerate(data[key]):
            if item is None:
                ledger.add((key, place), "is an empty item. Fill it or take it out.")
    return data


def _take_out(data: dict[str, Any], error: ErrorDetails) -> None:
    """Remove what an error is about: an unknown key alone, otherwise the item or the whole key."""
    key, *rest = error["loc"]
    if str(key) not in StudyContent.lists:
        del data[str(key)]
    elif not rest:
        data[str(key)] = [None]
    elif error["type"] != "extra_forbidden":
        data[str(key)][rest[0]] = None
    elif data[str(key)][rest[0]] is not None:
        del data[str(key)][rest[0]][rest[1]]


def _path(error: ErrorDetails) -> KeyPath:
    path = error["loc"]
    return path[:-1] if error["type"] == "missing" else path


def _said(error: ErrorDetails) -> str:
    """Say in words of ours what pydantic found."""
    kind, value, path = error["type"], error["input"], error["loc"]
    if kind == "extra_forbidden":
        return f"is no key here. {suggestion(str(path[-1]), _keys_beside(path))}"
    if kind == "missing":
        return f"has no {path[-1]}. Write {path[-1]}: NAME."
    if kind == "value_error":
        return str(error["ctx"]["error"])
    if kind == "too_short":
        return "is an empty list. Name something, or leave the key out."
    if kind in ("model_type", "dict_type"):
        return f"must be key: value lines, not {_shown(value)}."
    said = error["msg"]
    for theirs, ours in _WORDS.items():
        said = said.replace(theirs, ours)
    return f"{said}, not {_shown(value)}."


def _keys_beside(path: KeyPath) -> list[str]:
    """The keys there could have been in the place of an unknown one."""
    model = StudyContent if len(path) == 1 else StudyContent.entries[str(path[0])]
    return list(model.model_fields)


def _shown(value: object) -> str:
    if isinstance(value, dict | list) or len(repr(value)) > _LONGEST:
        return {"dict": "key: value lines", "list": "a list"}.get(type(value).__name__, "this")
    return "nothing" if value is None else repr(value)


def named_values(
    kind: str,
    cls: type[Any],
    texts: Mapping[str, str],
    entry: DataEntry | MethodEntry,
    ledger: Problems,
    path: KeyPath,
) -> dict[str, object]:
    """Return the values of an entry by parameter, those written behind the name first.

    What names no parameter, or one for the second time, is noted and left out.
    """
    known = [each.name for each in parameters_of(cls)]
    values: dict[str, object] = {}
    written = [(key or next(iter(known), ""), value) for key, value in texts.items()]
    for key, value in [*written, *entry.parameters.items()]:
        inside = (*path, "parameters", key)
        if not known:
            ledger.add(inside, f"{kind.capitalize()} '{cls.name}' has no parameters.")
        elif key not in known:
            where = f"in {kind} '{cls.name}'"
            ledger.add(inside, f"No parameter '{key}' {where}. {suggestion(key, known)}")
        elif key in values:
            ledger.add(inside, "is given twice: behind the name and here. Leave one out.")
        else:
            values[key] = value
    return values


def refused(
    kind: str, cls: type[Any], values: Mapping[str, object]
) -> list[tuple[str | None, str]]:
    """Return what speaks against constructing a `cls` from `values`.

    Each with the parameter to blame, None where no single one is.
    """
    required = {each.name for each in parameters_of(cls) if each.required}
    found: list[tuple[str | None, str]] = []
    left = dict(values)
    while True:
        try:
            build(kind, cls, left)
        except KeeprateError as error:
            said = str(error)
        else:
            return found
        begins = re.match(r"[^:]*: (\w+)", said)
        blamed = begins[1] if begins and begins[1] in left else None
        found.append((blamed, said))
        if blamed is None or blamed in required:
            return found
        del left[blamed]


def missing(cls: type[Any], values: Mapping[str, object]) -> list[str]:
    """Return the names of the parameters that need a value and have none."""
    return [each.name for each in parameters_of(cls) if each.required and each.name not in values]
