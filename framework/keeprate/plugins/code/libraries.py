"""Which modules are libraries: their code counts by name, and is never looked into."""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ...hookspecs import PROJECT
from ..installed import installed_plugins

LIBRARIES: Final = sys.stdlib_module_names | {
    PROJECT,
    "PIL",
    "lightning",
    "numpy",
    "polars",
    "pydantic",
    "safetensors",
    "scipy",
    "sklearn",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
    "transformers",
}
"""Top-level modules that are never followed: keeprate itself and the libraries it uses."""


def is_library(module: str) -> bool:
    """Tell whether a module, by its dotted name, belongs to a library."""
    top = top_package(module)
    # the module that a script or a session is, is the user's
    return top in LIBRARIES and top != "__main__"


@cache
def is_foreign(top: str) -> bool:
    """Tell whether pip has installed a top-level module, so that its code is not the user's."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return False
    return bool(spec and spec.has_location and spec.origin and is_installed(Path(spec.origin)))


def top_package(module: str) -> str:
    """Return the first part of a dotted name."""
    return module.partition(".")[0]


def is_installed(path: Path) -> bool:
    """Tell whether pip, or Python itself, has put a module there."""
    if path.is_relative_to(sysconfig.get_path("stdlib")):
        return True
    return any(_has_packages(folder) for folder in path.parents)


@cache
def _has_packages(folder: Path) -> bool:
    return any(folder.glob("*.dist-info"))


def packages_of_plugins() -> frozenset[str]:
    """Return the top-level packages that bring plugins, but for the libraries."""
    brought = (top_package(plugin.entry.module) for plugin in installed_plugins())
    return frozenset(brought) - LIBRARIES
