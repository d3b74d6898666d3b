"""Pack rows as JSON that is small, and safe inside an HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from os.path import commonprefix

Value = object
Row = Mapping[str, Value]

_FIGURES = 6
"""Significant digits that are kept: more than the page shows."""
_WORTH = 100
"""Least number of characters that a common prefix must save."""
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def packed(rows: Sequence[Row]) -> dict[str, object]:
    """Turn rows with the same names into columns, in which repeated values are written once.

    A column is a list of values, or an object: `of` holds the distinct texts, and `at` the index of
    each row's text; without `at` every row has the one value in `of`. Texts with a common beginning
    are written as `prefix` and the `rest` of each.
    """
    names = list(rows[0]) if rows else []
    columns = {name: _column([row[name] for row in rows]) for name in names}
    return {"rows": len(rows), "columns": columns}


def script_json(value: object) -> str:
    """Spell `value` as JSON that cannot end a script element, whatever texts are in it."""
    return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def _column(values: list[Value]) -> object:
    spelled = [json.dumps(_finite(value)) for value in values]
    # compared as JSON, as values may be lists, which no dict takes as keys
    distinct = dict(zip(spelled, values, strict=True))
    if len(distinct) == 1 < len(values):
        return {"of": [values[0]]}
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values) or not texts:
        return values
    # mostly different texts, such as ids, would only grow by an index
    if len(distinct) > len(values) / 2:
        prefix = commonprefix(texts)  # noqa: RUF071  letters, not folders
        rest = [text.removeprefix(prefix) for text in texts]
        return {"prefix": prefix, "rest": rest} if len(prefix) * len(texts) > _WORTH else values
    index_of = {text: index for index, text in enumerate(distinct)}
    return {"of": [*distinct.values()], "at": [index_of[text] for text in spelled]}


def _finite(value: object) -> object:
    """Round floats, and turn infinities and NaN, which JSON does not have, into texts."""
    if isinstance(value, float):
        return float(f"{value:.{_FIGURES}g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
