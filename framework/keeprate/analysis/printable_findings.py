"""Escapes what could steer a terminal, or the program that draws a chart, in all that is shown."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from itertools import chain
from operator import is_
from typing import Any, TypeVar

from ..errors import printable

T = TypeVar("T")


def printable_content(content: T) -> T:
    """Return content with every text in it printable; what has none to change stays the same."""
    value: Any = content
    if isinstance(value, str):
        return printable(value)  # type: ignore[return-value]
    if type(value) is tuple:
        items = tuple(map(printable_content, value))
        return value if all(map(is_, items, value)) else items  # type: ignore[return-value]
    if type(value) is dict:
        flat = tuple(chain.from_iterable(value.items()))
        shown = printable_content(flat)
        return value if shown is flat else dict(zip(shown[::2], shown[1::2], strict=True))  # type: ignore[return-value]
    if not is_dataclass(value) or isinstance(value, type):
        return content
    changes = {}
    for field in fields(value):
        old = getattr(value, field.name)
        new = printable_content(old)
        if field.init and new is not old:
            changes[field.name] = new
    return replace(value, **changes) if changes else content  # type: ignore[type-var]
