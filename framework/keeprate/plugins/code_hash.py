"""The code a class is written in, as a hash: changed code makes another run."""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from ..hookspecs import PROJECT
from .notebook_code import TypedCode, module_of

_LIBRARIES: Final = sys.stdlib_module_names | {
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
"""Top-level modules that are never followed: what keeprate itself is, and what it stands on."""


@dataclass(frozen=True)
class _Source:
    """A Python file by the dotted name of its module, "" for a file that is in no package.

    `folder` is where the modules lie that such a file imports from beside itself.
    """

    name: str
    path: Path
    folder: Path | None = None

    @property
    def package(self) -> list[str]:
        """The names that relative imports start from."""
        names = [name for name in self.name.split(".") if name]
        return names if self.path.stem == "__init__" else names[:-1]

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()


def source_sha256(cls: type) -> str:
    """Return the SHA-256 (hex) of the source code `cls` depends on, "" for keeprate's own classes.

    Covered are the modules in which `cls` and its bases are written, and every module that these
    import, anywhere but under TYPE_CHECKING, and so on, if it belongs to the same package, to a
    package that brings plugins, or, for a single file, if it lies in the same folder. The
    `__init__.py` of a package is covered if a name is taken from it or the package itself is
    imported (`import package`, `import package.module`), not if only a module of it is. Libraries,
    modules found at run time (`importlib`) and compiled ones are not.

    The hash does not depend on where the files lie, nor on the name of a file that is in no
    package. It is computed once, as the code that runs does not change after its import.

    A class without a file, of a notebook or a session, counts by its source or bytecode and by all
    it refers to (`keeprate.plugins.notebook_code`), as they are now. What cannot be looked into
    makes the hash another one each time, so that its runs are never taken for earlier ones.
    """
    classes = [each for each in cls.__mro__ if not _is_library(module_of(each))]
    if all(_has_file(module_of(each)) for each in classes):
        return _written_sha256(cls)
    typed = TypedCode(_is_library, _has_file)
    for each in classes:
        if not _has_file(module_of(each)):
            typed.add(each)
    return _sha256(cls, [*_files_of(classes), *_used_files(typed.modules)], typed.texts)


@cache
def _written_sha256(cls: type) -> str:
    """Return the hash of a class whose bases and it are in files; "" where all are libraries'."""
    classes = [each for each in cls.__mro__ if not _is_library(module_of(each))]
    return _sha256(cls, _files_of(classes), ()) if classes else ""


def _files_of(classes: Iterable[type]) -> list[_Source]:
    files = [_source_of(module_of(each)) for each in classes]
    return [file for file in files if file is not None]


def _sha256(cls: type, files: Iterable[_Source], typed: Iterable[str]) -> str:
    content = sorted((file.name, file.content) for file in _covered(files))
    text = repr((cls.__qualname__, content, sorted(set(typed))))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _used_files(modules: Iterable[str]) -> Iterator[_Source]:
    """The files of modules that a session uses, if an import by a file would cover them."""
    packages = _packages_of_plugins()
    for module in modules:
        file = _source_of(module)
        if file is not None and (file.folder is not None or _top(file.name) in packages):
            yield file


def _is_library(module: str) -> bool:
    return _top(module) in _LIBRARIES


def _has_file(module: str) -> bool:
    return _source_of(module) is not None


def _top(module: str) -> str:
    return module.partition(".")[0]


def _source_of(name: str) -> _Source | None:
    """The file of a module by its name, None if it has none that can be read."""
    module = sys.modules.get(name)
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix != ".py" or not path.is_file():
        return None
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.parent:
        return _Source(spec.name, path)
    installed = any(path.parent.glob("*.dist-info"))
    return _Source("", path, None if installed else path.parent)


def _covered(files: Iterable[_Source]) -> list[_Source]:
    """These files and all that they import, each once."""
    found: dict[Path, _Source] = {}
    waiting = list(files)
    packages = {_top(file.name) for file in waiting if file.name} | _packages_of_plugins()
    while waiting:
        file = waiting.pop(0)
        if found.setdefault(file.path.resolve(), file) is file:
            waiting += _imported(file, packages)
    return list(found.values())


def _packages_of_plugins() -> set[str]:
    return {_top(each.module) for each in entry_points(group=PROJECT)} - _LIBRARIES


def _imported(file: _Source, packages: Collection[str]) -> Iterator[_Source]:
    """The files that a file imports, of those that can be covered."""
    for alternatives in _names(file):
        located = (_located(name, file.folder, packages) for name in alternatives)
        yield from [each for each in located if each is not None][:1]


def _names(file: _Source) -> Iterator[tuple[str, ...]]:
    """Dotted names of what is imported; of alternatives, the first that is a module is meant."""
    for node in _import_statements(file.content):
        if isinstance(node, ast.ImportFrom):
            above = file.package[: len(file.package) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                yield (f"{start}.{alias.name}", start) if start else (alias.name,)
            continue
        for alias in node.names:
            parts = alias.name.split(".")
            first = len(parts) if alias.asname else 1
            yield from ((".".join(parts[:end]),) for end in range(first, len(parts) + 1))


def _import_statements(content: bytes) -> Iterator[ast.Import | ast.ImportFrom]:
    """All of a file, but for those that only a type checker reads; none if it is not Python."""
    try:
        waiting: list[ast.AST] = [ast.parse(content)]
    except (SyntaxError, ValueError):
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _for_types(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _for_types(condition: ast.expr) -> bool:
    return ast.unparse(condition) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _located(name: str, folder: Path | None, packages: Collection[str]) -> _Source | None:
    """The file of a module, by its dotted name; None if it is a library's or there is none."""
    top, *rest = name.split(".")
    if top in packages:
        places, parts, folder = _places(top), rest, None
    elif folder is not None and top not in _LIBRARIES:
        places, parts = [folder], [top, *rest]
    else:
        return None
    for place in places:
        target = place.joinpath(*parts)
        for path in (target / "__init__.py", target.parent / f"{target.name}.py"):
            if path.is_file() and (parts or path.parent == target):
                return _Source(name, path, folder)
    return None


def _places(package: str) -> list[Path]:
    """The folders of a package: one, several if it is a namespace, none if it is a module."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in (spec and spec.submodule_search_locations) or ()]
