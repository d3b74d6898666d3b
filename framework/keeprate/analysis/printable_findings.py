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
    shown: T = _shown(content)
    return shown


def _shown(content: Any) -> Any:
    if isinstance(content, str):
        return printable(content)
    if type(content) is tuple:
        items = tuple(map(_shown, content))
        return content if all(map(is_, items, content)) else items
    if type(content) is dict:
        flat = tuple(chain.from_iterable(content.items()))
        shown = _shown(flat)
        return content if shown is flat else dict(zip(shown[::2], shown[1::2], strict=True))
    if not is_dataclass(content) or isinstance(content, type):
        return content
    changes = {}
    for field in fields(content):
        old = getattr(content, field.name)
        new = _shown(old)
        if field.init and new is not old:
            changes[field.name] = new
    return replace(content, **changes) if changes else content
