"""Spell all that the code of a class reaches and that no hash of a file covers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from functools import cached_property
from pathlib import PurePath
from types import CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any, cast
from uuid import uuid4

from .bytecode import all_names, imports_of, outer_variables
from .data_files import ReadFiles
from .libraries import is_foreign, is_library, top_package
from .plugin_folders import PREFIX, module_beside
from .source_code import SourceCode, unwrapped
from .value_text import NoValueError, ValueText

_MADE_IN_PYTHON = 1 << 9
"""Flag of classes that a class statement made (Py_TPFLAGS_HEAPTYPE)."""
_FOLDER = re.compile(rf"{PREFIX}[0-9a-f]{{12}}\.")
_OF_PYTHON = (GetSetDescriptorType, MemberDescriptorType)


def module_of(thing: type | FunctionType) -> str:
    """Return the module of a class or function, "" where `exec` ran the code in no module."""
    if isinstance(thing, FunctionType):
        # decorators copy the name of the module onto their own functions
        module = str(thing.__globals__.get("__name__") or "")
        return "" if module == "builtins" else module
    # what `exec` makes without a module's name also says "builtins"
    made = thing.__module__ == "builtins" and bool(thing.__flags__ & _MADE_IN_PYTHON)
    return "" if made else thing.__module__ or ""


class ReachableCode:
    """What classes reach: functions, classes and values, as texts that change when these change.

    What the source of a file explains (`SourceCode`) has no text: the file's hash covers it. The
    modules of such files are collected in `modules`, those that functions import in `imports`. A
    function of a session counts by its source, as `inspect` finds it (IPython keeps the source of
    its cells), or else by its bytecode; so does a function that is not, or no longer, what its file
    holds. Values that no source explains count as they are now: those of variables, default
    arguments, closures and attributes. `unknown` says in a sentence what cannot be read; it gets a
    text that never comes again, so that such a run is never taken for another one. `source_code`
    returns what the file of a module says, None if it has no file. `files` are the files that the
    code reads. What pip has installed counts by name, unless it is of one of the `packages`.
    """

    def __init__(
        self,
        source_code: Callable[[str], SourceCode | None],
        files: ReadFiles | None,
        packages: Collection[str],
    ) -> None:
        self.source_code, self.files, self.packages = source_code, files, packages
        self.texts: list[str] = []
        self.modules: set[str] = set()
        self.imports: set[str] = set()
        self.unknown: list[str] = []
        self._values = ValueText(self._code_text, self._path_text)
        # the things themselves are kept: numbers of things that are gone come again
        self._seen: dict[int, tuple[object, str]] = {}

    def add(self, thing: type | FunctionType, label: str) -> None:
        """Add a class or function, with all it refers to, once."""
        if id(thing) in self._seen:
            return  # functions may refer to themselves and to each other
        self._seen[id(thing)] = thing, label
        if isinstance(thing, type):
            self._add_class(thing, label)
        else:
            self._add_function(thing, label)

    def add_value(self, label: str, value: object) -> None:
        """Add the text of a value that no source explains."""
        try:
            # a logger, for one, has the name of its module
            text = _FOLDER.sub("", self._values.of(value, label))
            self.texts.append(f"{label} {text}")
        except NoValueError as error:
            self.mark_unknown(
                f"{label} is a {error}, which no other process can compare: make it a parameter, "
                "or keep a plain value"
            )

    def text_alone(self, label: str, value: object) -> list[str] | None:
        """Return a value and all it reaches as texts, None if it cannot be read."""
        alone = ReachableCode(self.source_code, None, self.packages)
        alone.add_value(label, value)
        return None if alone.unknown else alone.texts

    def mark_unknown(self, reason: str) -> None:
        """Record what cannot be read; the text makes the hash a new one each time."""
        self.unknown.append(reason)
        self.texts.append(uuid4().hex)

    def _add_class(self, cls: type, label: str) -> None:
        source = self._source(module_of(cls))
        if source is None:
            self.texts.append(f"{cls.__qualname__} {_source_text(cls) or ''}")
        for name in sorted(vars(cls)):
            value = vars(cls)[name]
            # Python keeps caches and counters of its own in the other names
            if _has_functions(value) or not (
                name.startswith(("__", "_abc_", "_is_protocol")) or isinstance(value, _OF_PYTHON)
            ):
                self._add_attribute(cls, name, source, f"{label}.{name}")
        for base in cls.__bases__:
            self._reach(base, base.__qualname__)

    def _add_attribute(self, cls: type, name: str, source: SourceCode | None, label: str) -> None:
        value, full_name = vars(cls)[name], f"{cls.__qualname__}.{name}"
        functions = [unwrapped(each) for each in _functions_of(value)]
        if functions and source is not None:
            if is_dataclass(cls) and name.startswith("__") and full_name not in source.definitions:
                return  # made from the fields, which the source names
            names = (full_name, cls.__qualname__)  # `as_method` names a class as its function
            if all(
                isinstance(each, FunctionType)
                and (
                    self._is_library(module_of(each))
                    or (each.__code__.co_qualname in names and source.has(each))
                )
                for each in functions
            ):
                for each in functions:
                    self._reach(each, label)
                return
        elif source is not None and source.explains_attribute(cls, name, value):
            self._reach_all(value, label)
            return
        elif source is not None and (issubclass(cls, tuple) or hasattr(cls, "__members__")):
            return  # named tuples and enumerations are made from what the source names
        self.add_value(label, functions or value)

    def _add_function(self, function: FunctionType, label: str) -> None:
        code, source = function.__code__, self._source(module_of(function))
        if source is None or not source.has(function):
            text = _source_text(function) if source is None else None
            self.texts.append(f"{label} {text or self._bytecode_text(code, label)}")
        if source is None or not source.explains_defaults(function):
            self.add_value(f"{label}()", [function.__defaults__, function.__kwdefaults__])
        own = {name: value for name, value in vars(function).items() if not name.startswith("_")}
        if own:
            self.add_value(f"{label}.", own)
        read = dict(outer_variables(function))
        for name, value in sorted(read.items()):
            self._add_variable(module_of(function), name, value, function.__globals__, source)
            self._add_attributes_of_module(value, code)
        for name, level in sorted(imports_of(code)):
            self.imports.add(name)
            self._add_attributes_of_module(self._imported(name, level, function), code)
        cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            value = _content(cell)
            read[name] = value
            if name != "__class__":
                self.add_value(f"{label}.{name}", value)
        if self.files is not None:
            read |= {f"{i}.": value for i, value in enumerate(function.__defaults__ or ())}
            self.texts += self.files.read_by(code, read, function.__globals__, label, self.unknown)

    def _add_variable(
        self,
        module: str,
        name: str,
        value: object,
        space: Mapping[str, Any],
        source: SourceCode | None,
    ) -> None:
        label = f"{self._module_name(module)}{name}"
        if source is not None and source.explains(name, value, space):
            self._reach_all(value, label)
        else:
            self.add_value(label, value)

    def _add_attributes_of_module(self, module: object, code: CodeType) -> None:
        """Add those variables of a module that a function may read, as in `package.module.NAME`."""
        if not isinstance(module, ModuleType) or self._is_library(module.__name__):
            return
        source = self._source(module.__name__)
        for name in sorted(all_names(code) & vars(module).keys()):
            value = vars(module)[name]
            self._add_variable(module.__name__, name, value, vars(module), source)
            if isinstance(value, ModuleType) and value.__name__ == f"{module.__name__}.{name}":
                self._add_attributes_of_module(value, code)

    def _reach_all(self, value: object, label: str) -> None:
        """Follow the functions and classes in a value that the source explains."""
        if isinstance(value, dict | list | tuple | set | frozenset):
            for each in value.values() if isinstance(value, dict) else value:
                self._reach_all(each, label)
        else:
            self._reach(unwrapped(value), label)

    def _reach(self, thing: object, label: str) -> None:
        if isinstance(thing, ModuleType) and not self._is_library(thing.__name__):
            self._source(thing.__name__)
        elif isinstance(thing, type | FunctionType) and not self._is_library(module_of(thing)):
            self.add(thing, label)

    def _code_text(self, thing: Any, label: str) -> str:
        """Return the name of a module, class or function, and add it."""
        if isinstance(thing, ModuleType):
            self._reach(thing, label)
            return self._module_name(thing.__name__).removesuffix(".")
        inner: Any = unwrapped(thing)
        if inner is not thing:
            return f"wrapped {self._values.of(inner, label)}"
        if not isinstance(thing, type | FunctionType):
            return f"{inner.__module__}.{inner.__qualname__}"
        name = f"{self._module_name(module_of(thing))}{thing.__qualname__}"
        if self._is_library(module_of(thing)):
            cells = getattr(thing, "__closure__", None) or ()
            # a library's function that was made of something, as of a function of the user's
            return f"{name}{[self._values.of(_content(cell), label) for cell in cells] or ''}"
        self._reach(thing, label)
        return f"{name} at {self._seen[id(thing)][1]}"

    def _path_text(self, path: PurePath) -> str:
        return repr(str(path)) if self.files is None else self.files.path_text(path)

    def _imported(self, name: str, level: int, function: FunctionType) -> object:
        """Return the module that a function imports when it runs; None for a library's."""
        if not level and self._is_library(name):
            return None
        try:
            # as the function does it: beside a plugin file, `import` means the module there
            run = cast("Any", function).__builtins__["__import__"]
            return run(name, function.__globals__, None, ("__name__",), level)
        except Exception:  # whatever the author's module raises; the method says so when it runs
            return None

    def _is_library(self, module: str) -> bool:
        top = top_package(module)
        return is_library(module) or (top not in self.packages and is_foreign(top))

    def _source(self, module: str) -> SourceCode | None:
        source = self.source_code(module)
        if source is not None:
            self.modules.add(module)
        return source

    def _module_name(self, module: str) -> str:
        """Return the name of a module with a dot, without the folder that a plugin's lies in."""
        beside = module_beside(module)
        name = module if beside is None else beside
        return f"{name}." if name else ""

    def _bytecode_text(self, code: CodeType, label: str) -> str:
        """Return what a function does, where its source cannot be found."""
        constants = [
            self._bytecode_text(constant, label)
            if isinstance(constant, CodeType)
            else self._values.of(constant, label)
            for constant in code.co_consts
        ]
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)
        return repr((code.co_code.hex(), constants, names))


def _functions_of(value: object) -> list[object]:
    """Return the function, or functions, inside a static or class method or a property."""
    if isinstance(value, staticmethod | classmethod):
        return [value.__func__] if _is_function(value.__func__) else []
    if isinstance(value, property):
        return [each for each in (value.fget, value.fset, value.fdel) if each is not None]
    if isinstance(value, cached_property):
        return [value.func]
    return [value] if _is_function(value) else []


def _is_function(value: object) -> bool:
    return isinstance(unwrapped(value), FunctionType)


def _has_functions(value: object) -> bool:
    return bool(_functions_of(value))


def _source_text(thing: type | FunctionType) -> str | None:
    """Return the source of a class or function, None if it cannot be found."""
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError, IndexError, SyntaxError):
        return None
    # a file may have changed since: then its lines are no longer those of this thing
    return source if thing.__name__.strip("<>") in source else None


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # the variable has no value yet
        return None
