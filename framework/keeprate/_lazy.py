"""Public names of a package, imported when they are first used so that start-up stays quick."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package; `homes` gives the module of each name."""
    namespace = vars(sys.modules[package])

    def get(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value: object = getattr(import_module(f".{homes[name]}", package), name)
        namespace[name] = value  # later uses no longer call `__getattr__`
        return value

    def names() -> list[str]:
        return sorted({*namespace, *homes})

    return get, names
