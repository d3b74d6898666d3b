"""Changes every text in what reports show, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any


def mapped_texts(value: Any, change: Callable[[str], str], left: Collection[str] = ()) -> Any:
    """Return a value with every text in it changed; what holds no other text is the same object.

    Texts are looked for in tuples, lists, mappings and dataclasses, but for the fields `left`.
    """
    if isinstance(value, str):
        return change(value) if type(value) is str else value
    if isinstance(value, tuple | list):
        items = [mapped_texts(item, change, left) for item in value]
        return value if _same(items, value) else type(value)(items)
    if isinstance(value, Mapping):
        keys = [mapped_texts(key, change, left) for key in value]
        items = [mapped_texts(item, change, left) for item in value.values()]
        same = _same(keys, value) and _same(items, value.values())
        return value if same else dict(zip(keys, items, strict=True))
    if not is_dataclass(value) or isinstance(value, type):
        return value
    current = {each.name: getattr(value, each.name) for each in fields(value) if each.init}
    changed = {
        name: new
        for name, item in current.items()
        if name not in left and (new := mapped_texts(item, change, left)) is not item
    }
    return replace(value, **changed) if changed else value


def _same(new: Collection[Any], old: Collection[Any]) -> bool:
    return all(one is other for one, other in zip(new, old, strict=True))
