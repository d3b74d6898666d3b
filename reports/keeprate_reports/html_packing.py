"""Rows as JSON that is small, and safe inside an HTML page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from os.path import commonprefix

Value = object
Row = Mapping[str, Value]

_FIGURES = 6
"""Significant figures that are kept: more than the page shows."""
_WORTH = 100
"""Characters that writing a beginning once must save."""
_ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def packed(rows: Sequence[Row]) -> dict[str, object]:
    """Rows with the same names as columns, in which what repeats is written once.

    A column is a list of values, or `of` its distinct texts with `at` which of them each row has;
    without `at` every row has the one value. Texts that all begin alike are their `prefix` and
    the `rest` of each.
    """
    names = list(rows[0]) if rows else []
    columns = {name: _column([row[name] for row in rows]) for name in names}
    return {"rows": len(rows), "columns": columns}


def script_json(value: object) -> str:
    """`value` as JSON that ends no script element, whatever texts are in it."""
    return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False).translate(_ESCAPES)


def _column(values: list[Value]) -> object:
    written = [json.dumps(_finite(value)) for value in values]
    distinct = dict(zip(written, values, strict=True))
    if len(distinct) == 1 < len(values):
        return {"of": [values[0]]}
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values) or not texts:
        return values
    if len(distinct) > len(values) / 2:
        prefix = commonprefix(texts)  # noqa: RUF071  letters, not folders
        rest = [text.removeprefix(prefix) for text in texts]
        return {"prefix": prefix, "rest": rest} if len(prefix) * len(texts) > _WORTH else values
    place = {text: index for index, text in enumerate(distinct)}
    return {"of": [*distinct.values()], "at": [place[text] for text in written]}


def _finite(value: object) -> object:
    """Lists and dicts of what JSON has; infinities and NaN, which it has not, as texts."""
    if isinstance(value, float):
        return float(f"{value:.{_FIGURES}g}") if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
