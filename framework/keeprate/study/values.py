"""Names and parameter values in a study, checked against what is registered under the name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import KeeprateError, suggestion
from ..plugins.parameters import build, parameters_of
from .content import DataEntry, MethodEntry
from .source import Ledger
from .yaml_lines import KeyPath


def named_values(
    kind: str,
    cls: type[Any],
    texts: Mapping[str, str],
    entry: DataEntry | MethodEntry,
    ledger: Ledger,
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
