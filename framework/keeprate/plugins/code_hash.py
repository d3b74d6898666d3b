"""Hash the code that a class is written in, so that changed code makes another run."""

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
"""Top-level modules that are never followed: keeprate itself and the libraries it uses."""


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

    The hash covers the modules in which `cls` and its bases are written. It also covers every
    module that these import, directly or indirectly, if it belongs to the same package, to a
    package that brings plugins, or, for a single file, if it lies in the same folder. Imports under
    TYPE_CHECKING do not count. The `__init__.py` of a package is covered if a name is imported from
    it or the package itself is (`import package`, `import package.module`), not if only a module
    of it is. Libraries, compiled modules and modules found at run time (`importlib`) are not.

    The hash does not depend on where the files lie, nor on the name of a file that is in no
    package. It is computed once, because the code that runs does not change after its import.

    A class without a file (typed into a notebook or a session) counts by its source or bytecode and
    by all it refers to (`keeprate.plugins.notebook_code`), each time as they are then. A value that
    cannot be read makes the hash new each time, so that its runs are never taken for earlier ones.
    """
    classes = [base for base in cls.__mro__ if not _is_library(module_of(base))]
    if all(_has_file(module_of(base)) for base in classes):
        return _sha256_of_file_class(cls)
    typed_code = TypedCode(_is_library, _has_file)
    for base in classes:
        if not _has_file(module_of(base)):
            typed_code.add(base)
    return _sha256(cls, [*_files_of(classes), *_used_files(typed_code.modules)], typed_code.texts)


@cache
def _sha256_of_file_class(cls: type) -> str:
    """Return the hash of a class that is in files, as its bases are; "" if all are libraries'."""
    classes = [base for base in cls.__mro__ if not _is_library(module_of(base))]
    return _sha256(cls, _files_of(classes), ()) if classes else ""


def _files_of(classes: Iterable[type]) -> list[_Source]:
    files = [_source_of(module_of(cls)) for cls in classes]
    return [file for file in files if file is not None]


def _sha256(cls: type, files: Iterable[_Source], typed_texts: Iterable[str]) -> str:
    # sorted, so that the order in which imports are followed does not count
    content = sorted((file.name, file.content) for file in _follow_imports(files))
    text = repr((cls.__qualname__, content, sorted(set(typed_texts))))
    # surrogatepass: the source of a notebook may hold half a character
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _used_files(modules: Iterable[str]) -> Iterator[_Source]:
    """Yield the files of modules that a session uses, if an import by a file would cover them."""
    packages = _packages_of_plugins()
    for module in modules:
        file = _source_of(module)
        if file is not None and (file.folder is not None or _top_package(file.name) in packages):
            yield file


def _is_library(module: str) -> bool:
    return _top_package(module) in _LIBRARIES


def _has_file(module: str) -> bool:
    return _source_of(module) is not None


def _top_package(module: str) -> str:
    return module.partition(".")[0]


def _source_of(name: str) -> _Source | None:
    """Return the file of a module by its name, None if it has none that can be read."""
    module = sys.modules.get(name)
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix != ".py" or not path.is_file():
        return None
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.parent:
        return _Source(spec.name, path)
    # a single file that pip installed lies beside modules of other packages: none is its own
    installed = any(path.parent.glob("*.dist-info"))
    return _Source("", path, None if installed else path.parent)


def _follow_imports(files: Iterable[_Source]) -> list[_Source]:
    """Return these files and all that they import, each once."""
    files_by_path: dict[Path, _Source] = {}
    queue = list(files)
    packages = {_top_package(file.name) for file in queue if file.name} | _packages_of_plugins()
    while queue:
        file = queue.pop(0)
        # a file met before is not followed again: modules may import each other
        if files_by_path.setdefault(file.path.resolve(), file) is file:
            queue += _imported_files(file, packages)
    return list(files_by_path.values())


def _packages_of_plugins() -> set[str]:
    return {_top_package(entry.module) for entry in entry_points(group=PROJECT)} - _LIBRARIES


def _imported_files(file: _Source, packages: Collection[str]) -> Iterator[_Source]:
    """Yield those files that a file imports and that can be covered."""
    for alternatives in _imported_names(file):
        sources = (_find_file(name, file.folder, packages) for name in alternatives)
        yield from [source for source in sources if source is not None][:1]


def _imported_names(file: _Source) -> Iterator[tuple[str, ...]]:
    """Yield the dotted names of each import; of several, the first that is a module is meant."""
    for node in _import_statements(file.content):
        if isinstance(node, ast.ImportFrom):
            above = file.package[: len(file.package) + 1 - node.level] if node.level else []
            start = ".".join([*above, *([node.module] if node.module else [])])
            # `from package import name` imports a module or what package/__init__.py defines
            for alias in node.names:
                yield (f"{start}.{alias.name}", start) if start else (alias.name,)
            continue
        for alias in node.names:
            parts = alias.name.split(".")
            # `import a.b` binds `a`, so `a/__init__.py` counts; `import a.b as c` binds `a.b` alone
            first = len(parts) if alias.asname else 1
            yield from ((".".join(parts[:end]),) for end in range(first, len(parts) + 1))


def _import_statements(content: bytes) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield all imports of a file but those for type checkers; none if it is not Python."""
    try:
        queue: list[ast.AST] = [ast.parse(content)]
    except (SyntaxError, ValueError):
        return
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            queue += node.orelse
        else:
            queue += ast.iter_child_nodes(node)


def _is_type_checking(condition: ast.expr) -> bool:
    return ast.unparse(condition) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _find_file(name: str, folder: Path | None, packages: Collection[str]) -> _Source | None:
    """Return the file of a module by its dotted name; None if it is a library's or missing."""
    top, *rest = name.split(".")
    if top in packages:
        roots, parts, folder = _package_folders(top), rest, None
    elif folder is not None and top not in _LIBRARIES:
        roots, parts = [folder], [top, *rest]
    else:
        return None
    for root in roots:
        target = root.joinpath(*parts)
        for path in (target / "__init__.py", target.parent / f"{target.name}.py"):
            if path.is_file() and (parts or path.parent == target):
                return _Source(name, path, folder)
    return None


def _package_folders(package: str) -> list[Path]:
    """Return the folders of a package: several for a namespace, none for a single module."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(location) for location in (spec and spec.submodule_search_locations) or ()]
