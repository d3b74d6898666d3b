"""Import plugin files by path, together with the modules that lie beside them.

The modules of a folder are imported under a package that stands for the folder alone, so that two
folders may hold modules of one name, and nothing is added to Python's path. `import helper` in a
plugin file means the module beside it, as in a script, unless a library has that name.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from .libraries import is_library, top_package

PREFIX: Final = "keeprate_plugin_"


def folder_package(folder: Path) -> str:
    """Return the name of the package that stands for a folder."""
    return f"{PREFIX}{_digest(str(folder))}"


def module_beside(name: str) -> str | None:
    """Return the name that a module has in its plugin's folder, None for any other module."""
    package, _, inner = name.partition(".")
    return inner if package.startswith(PREFIX) and inner else None


def import_file(path: Path) -> ModuleType:
    """Import a plugin file; it is the same module if another file of its folder imports it."""
    package = folder_package(path.parent)
    if package not in sys.modules:
        module = importlib.util.module_from_spec(ModuleSpec(package, None, is_package=True))
        module.__path__ = [str(path.parent)]
        sys.modules[package] = module
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    # a stem that is no name cannot be imported by another file, but must not clash with one
    stem = path.stem if path.stem.isidentifier() else f"{_digest(path.name)}_"
    name = f"{package}.{stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Loader(name, str(path)))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up here
    try:
        _Loader(name, str(path)).exec_module(module)
    except BaseException:  # half a module must not be found by a later import
        del sys.modules[name]
        raise
    return module


def forget(files: Iterable[Path]) -> None:
    """Let the modules in the folders of plugin files be imported anew, as they are now."""
    packages = {folder_package(path.parent) for path in files}
    for name in [name for name in sys.modules if top_package(name) in packages]:
        del sys.modules[name]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class _Finder:
    """Finds the modules of the folders of plugins, and gives each its folder's `import`."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if module_beside(name) is None:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        package = top_package(module.__name__)
        folder = Path(sys.modules[package].__path__[0])
        # functions look `import` up here, also when they are called later
        own = {**vars(builtins), "__import__": _import_in(package, folder)}
        vars(module)["__builtins__"] = own
        super().exec_module(module)


def _import_in(package: str, folder: Path) -> Callable[..., Any]:
    """Return the `__import__` of modules in a folder."""

    def import_beside(
        name: str,
        space: Any = None,
        local: Any = None,
        wanted: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        if level or not _lies_beside(top_package(name), folder):
            return builtins.__import__(name, space, local, wanted, level)
        found = builtins.__import__(f"{package}.{name}", space, local, wanted, 0)
        return found if wanted else sys.modules[f"{package}.{top_package(name)}"]

    return import_beside


def _lies_beside(top: str, folder: Path) -> bool:
    """Tell whether a top-level module is one of a folder, which nothing but the folder holds."""
    if is_library(top) or top == "__main__":
        return False
    beside = PathFinder.find_spec(top, [str(folder)])
    if beside is None:
        return False
    try:
        found = importlib.util.find_spec(top)
    except ValueError:  # a module that was made without a file
        return False
    # a folder without code is a module only where there is no other; and a module that Python finds
    # by itself is not imported a second time
    return found is None or (beside.loader is not None and found.origin != beside.origin)
