"""Hash the code that a class is written in, so that changed code makes another run."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from weakref import WeakKeyDictionary

from ..parameters import parameters_of
from .data_files import ReadFiles
from .import_statements import imported_names
from .libraries import LIBRARIES, is_installed, is_library, packages_of_plugins, top_package
from .plugin_folders import module_beside
from .reachable_code import ReachableCode, module_of
from .source_code import SourceCode, code_of


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


@dataclass(frozen=True)
class CodeHash:
    """The SHA-256 (hex) of the code of something, and what of it could not be read.

    `sha256` is "" for keeprate's own classes. If anything is `unknown`, a sentence for each says
    what and why, and the hash is another one each time.
    """

    sha256: str
    unknown: tuple[str, ...] = ()


def source_sha256(thing: object) -> str:
    """Return the SHA-256 (hex) of `hash_code`."""
    return hash_code(thing).sha256


def read_source(cls: type) -> None:
    """Read the files that a class depends on, if they have not been read since its import."""
    if cls not in _SNAPSHOTS:
        hash_code(cls)


def hash_code(thing: object) -> CodeHash:
    """Return the hash of all code that a class, or an instance of a method, depends on.

    The hash covers the modules in which the class and its bases are written. It also covers every
    module that these import, directly or indirectly, if it is the user's: of the same package, of a
    package that brings plugins, beside a file, or elsewhere on Python's path where pip has put
    nothing. Imports under TYPE_CHECKING do not count. The `__init__.py` of a package is covered if
    a name is imported from it or the package itself is (`import package`, `import package.module`),
    not if only a module of it is. Libraries, compiled modules and modules found at run time
    (`importlib`) are not.

    Beside the files, what the code reaches counts by its present value, wherever the files do not
    say what it is (`keeprate.plugins.reachable_code`); of an instance also its attributes, where
    they are not those that a new one with its parameters has. So do the files that a method reads.

    The hash does not depend on where the files lie, nor on the name of a file that is in no
    package. Raises KeeprateError for a file in the attribute `reads` that is not there.
    """
    cls = thing if isinstance(thing, type) else type(thing)
    classes = [base for base in cls.__mro__ if not is_library(module_of(base))]
    if not classes:
        return CodeHash("")
    # data sets read what they are asked for: their samples count, and what they declare
    looks_for_files = hasattr(cls, "score") and hasattr(cls, "reduce")
    files = ReadFiles(_folder_of(classes), getattr(cls, "reads", ()), str(cls.__name__))
    held = {name: value for base in reversed(classes) for name, value in vars(base).items()}
    files.declare_held(value for name, value in held.items() if not name.startswith("__"))
    if thing is not cls:
        files.declare_held(getattr(thing, each.name, None) for each in parameters_of(cls))
    packages = {top_package(module_of(base)) for base in classes} | packages_of_plugins()
    reached = ReachableCode(_source_code, files if looks_for_files else None, packages)
    for base in classes:
        reached.add(base, base.__qualname__)
    if thing is not cls:
        _add_instance(thing, reached, files)
    texts = sorted({*reached.texts, *files.texts})
    content = _content(cls, classes, reached)
    return CodeHash(_sha256(cls, content, texts), tuple(reached.unknown))


@dataclass(frozen=True)
class _Snapshot:
    """The content of files by their names, as it was when `modules` were those loaded of them."""

    content: Mapping[Path, tuple[str, bytes]]
    modules: tuple[object, ...]

    @classmethod
    def of(cls, files: Iterable[_Source]) -> _Snapshot:
        found = _follow_imports(files)
        content = {file.path.resolve(): (file.name, file.content) for file in found}
        return cls(content, cls.loaded(content))

    @staticmethod
    def loaded(paths: Iterable[Path]) -> tuple[object, ...]:
        """Return what tells each import of the modules of files from the next."""
        by_path = {getattr(module, "__file__", None): module for module in [*sys.modules.values()]}
        return tuple(getattr(by_path.get(str(path)), "__spec__", None) for path in paths)


_SNAPSHOTS: WeakKeyDictionary[type, _Snapshot] = WeakKeyDictionary()
_SOURCE_CODES: WeakKeyDictionary[object, tuple[object, SourceCode]] = WeakKeyDictionary()


def _content(cls: type, classes: Iterable[type], reached: ReachableCode) -> list[tuple[str, bytes]]:
    """Return the files that a class depends on, with their names.

    The code that runs does not change after its import: the files of a class that is in files are
    read once, until one of their modules is imported again.
    """
    known = _SNAPSHOTS.get(cls)
    if known is None or known.modules != known.loaded(known.content):
        known = _Snapshot.of(_files_of(classes))
        if all(_source_of(module_of(base)) is not None for base in classes):
            _SNAPSHOTS[cls] = known
    modules = (_source_of(name) for name in sorted(reached.modules))
    imported = (_find_anywhere(name) for name in sorted(reached.imports))
    found = [file for file in (*modules, *imported) if file is not None]
    others = [file for file in found if file.path.resolve() not in known.content]
    more = _Snapshot.of(_own(others)).content if others else {}
    return list({**more, **known.content}.values())


def _add_instance(thing: object, reached: ReachableCode, files: ReadFiles) -> None:
    """Add what an instance holds beside what a new one with its parameters would hold."""
    cls, names = type(thing), [parameter.name for parameter in parameters_of(type(thing))]
    for name in names:
        value = getattr(thing, name, None)
        # the path itself is a parameter, and counts as such
        if isinstance(value, Path) and value.exists():
            reached.texts.append(f"{name} {files.content(value)}")
    held = {name: value for name, value in vars(thing).items() if name not in names}
    if not held:
        return
    try:
        new = vars(cls(**{name: getattr(thing, name) for name in names}))
    except Exception:  # whatever the author's constructor raises
        new = {}
    for name in sorted(held):
        label = f"{cls.__qualname__}.{name}"
        now, then = (reached.text_alone(label, each.get(name)) for each in (held, new))
        if name not in new or now != then or None in (now, then):
            reached.add_value(label, held[name])


def _sha256(cls: type, content: Iterable[tuple[str, bytes]], texts: Iterable[str]) -> str:
    # sorted, so that the order in which imports are followed does not count
    text = repr((cls.__qualname__, sorted(content), list(texts)))
    # surrogatepass: the source of a notebook may hold half a character
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _files_of(classes: Iterable[type]) -> list[_Source]:
    files = [_source_of(module_of(cls)) for cls in classes]
    return [file for file in files if file is not None]


def _folder_of(classes: Iterable[type]) -> Path | None:
    return next((file.path.parent for file in _files_of(classes)), None)


def _own(files: Iterable[_Source]) -> Iterator[_Source]:
    """Yield the files of modules that code reaches, if an import by a file would cover them."""
    packages = packages_of_plugins()
    for file in files:
        if top_package(file.name) in packages or not is_installed(file.path):
            yield file


def _source_code(module: str) -> SourceCode | None:
    """Return what the file of a module said when its import was first looked at."""
    file, loaded = _source_of(module), sys.modules.get(module)
    if file is None or loaded is None:
        return None
    spec, known = getattr(loaded, "__spec__", None), _SOURCE_CODES.get(loaded)
    if known is None or known[0] is not spec:
        known = _SOURCE_CODES[loaded] = spec, code_of(file.content)
    return known[1]


def _source_of(name: str) -> _Source | None:
    """Return the file of a module by its name, None if it has none that can be read."""
    module = sys.modules.get(name)
    path = Path(getattr(module, "__file__", None) or "")
    if path.suffix != ".py" or not path.is_file():
        return None
    beside = module_beside(name)
    if beside is not None:
        # a module of a plugin's folder; those in no package count alike under any name
        folder = None if is_installed(path) else _plugin_folder(name)
        return _Source(beside if "." in beside else "", path, folder)
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.parent:
        return _Source(spec.name, path)
    # a single file that pip installed lies beside modules of other packages: none is its own
    return _Source("", path, None if is_installed(path) else path.parent)


def _plugin_folder(name: str) -> Path:
    return Path(sys.modules[top_package(name)].__path__[0])


def _follow_imports(files: Iterable[_Source]) -> list[_Source]:
    """Return these files and all that they import, each once."""
    files_by_path: dict[Path, _Source] = {}
    queue = list(files)
    packages = {top_package(file.name) for file in queue if file.name and not file.folder}
    packages |= packages_of_plugins()
    while queue:
        file = queue.pop(0)
        # a file met before is not followed again: modules may import each other
        if files_by_path.setdefault(file.path.resolve(), file) is file:
            queue += _imported_files(file, packages)
    return list(files_by_path.values())


def _imported_files(file: _Source, packages: Iterable[str]) -> Iterator[_Source]:
    """Yield those files that a file imports and that can be covered."""
    for alternatives in imported_names(file.content, file.package):
        sources = (_find_file(name, file.folder, packages) for name in alternatives)
        yield from [source for source in sources if source is not None][:1]


def _find_file(name: str, folder: Path | None, packages: Iterable[str]) -> _Source | None:
    """Return the file of a module by its dotted name; None if it is a library's or missing."""
    top, *rest = name.split(".")
    if folder is not None and top not in LIBRARIES:
        beside = _file_in([folder], [top, *rest], name, folder)
        if beside is not None:
            return beside
    return _file_in(_package_folders(top), rest, name, None) if top in packages else None


def _find_anywhere(name: str) -> _Source | None:
    """Return the file of a module by its dotted name, if it is on Python's path and the user's."""
    top, *rest = name.split(".")
    spec = None if top in LIBRARIES else _spec(top)
    if spec is None:
        return None
    if spec.submodule_search_locations is not None:
        found = _file_in(_package_folders(top), rest, name, None)
    else:
        path = Path(spec.origin or "")
        found = _Source(name, path, path.parent) if path.suffix == ".py" else None
    return None if found is None or is_installed(found.path) else found


def _file_in(
    roots: Iterable[Path], parts: list[str], name: str, folder: Path | None
) -> _Source | None:
    for root in roots:
        target = root.joinpath(*parts)
        for path in (target / "__init__.py", target.parent / f"{target.name}.py"):
            if path.is_file() and (parts or path.parent == target):
                return _Source(name, path, folder)
    return None


def _package_folders(package: str) -> list[Path]:
    """Return the folders of a package: several for a namespace, none for a single module."""
    spec = _spec(package)
    return [Path(location) for location in (spec and spec.submodule_search_locations) or ()]


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except (ImportError, ValueError):
        return None
