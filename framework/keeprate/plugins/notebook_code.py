"""Code that is in no file: typed into a notebook or a session, hashed with all it refers to."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any
from uuid import uuid4

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis))
_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
_MADE_IN_PYTHON = 1 << 9
"""Flag of classes that a class statement made (Py_TPFLAGS_HEAPTYPE)."""


def module_of(thing: type | FunctionType) -> str:
    """Return the module a class or function is of, "" where it was run by `exec` in none."""
    module = thing.__module__ or ""
    made = not isinstance(thing, type) or bool(thing.__flags__ & _MADE_IN_PYTHON)
    return "" if module == "builtins" and made else module


class TypedCode:
    """What some classes without a file consist of, as texts that change when the code does.

    Each class and function counts by its source, as `inspect` finds it (IPython keeps that of its
    cells), or else by its bytecode and constants; so do the functions and classes of the session
    that it uses, and the values of the variables that it reads. `is_library` tells which modules,
    by name, count by their name alone; those of other modules are collected in `modules`. What
    cannot be looked into, an object of any other kind, gets a text that never comes again: such a
    run is not the same as another one.
    """

    def __init__(self, is_library: Callable[[str], bool], has_file: Callable[[str], bool]) -> None:
        self.is_library, self.has_file = is_library, has_file
        self.texts: list[str] = []
        self.modules: set[str] = set()
        self._seen: set[int] = set()

    def add(self, thing: object) -> None:
        """Take a class or function of the session in, with all it refers to, once."""
        if id(thing) in self._seen:
            return
        self._seen.add(id(thing))
        if isinstance(thing, type):
            self._add_class(thing)
        elif isinstance(thing, FunctionType):
            self._add_function(thing)

    def _add_class(self, cls: type) -> None:
        self.texts.append(f"{cls.__qualname__} {_source(cls) or ''}")
        for name in sorted(vars(cls)):
            value = _inner(vars(cls)[name])
            if isinstance(value, FunctionType) or not name.startswith(("__", "_abc_")):
                self.texts.append(f"{name} {self._spelled(value)}")
        for base in cls.__bases__:
            self._spelled(base)

    def _add_function(self, function: FunctionType) -> None:
        code = function.__code__
        self.texts.append(f"{function.__qualname__} {_source(function) or self._bytecode(code)}")
        self.texts.append(self._spelled([function.__defaults__, function.__kwdefaults__]))
        for name, value in _used(function):
            self.texts.append(f"{name} {self._spelled(value)}")

    def _spelled(self, value: object) -> str:
        """Return a value as text; classes, functions and modules are named, and taken in."""
        if isinstance(value, Enum):
            return str(value)
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, list | tuple | set | frozenset):
            parts = [self._spelled(each) for each in value]
            ordered = sorted(parts) if isinstance(value, set | frozenset) else parts
            return f"{type(value).__name__}({', '.join(ordered)})"
        if isinstance(value, dict):
            pairs = [f"{self._spelled(k)}: {self._spelled(v)}" for k, v in value.items()]
            return f"dict({', '.join(pairs)})"
        if is_dataclass(value) and not isinstance(value, type):
            parts = [self._spelled(getattr(value, each.name)) for each in fields(value)]
            return f"{self._named(type(value))}({', '.join(parts)})"
        return self._named(value) or _array(value) or uuid4().hex

    def _named(self, value: object) -> str | None:
        """The name of a module, class or function, which is taken in; None for anything else."""
        if isinstance(value, BuiltinFunctionType):
            return f"{value.__module__}.{value.__qualname__}"
        if isinstance(value, ModuleType):
            module, name = value.__name__, ""
        elif isinstance(value, type | FunctionType):
            module, name = module_of(value), value.__qualname__
        else:
            return None
        if self.is_library(module):
            return f"{module}.{name}"
        if self.has_file(module):
            self.modules.add(module)
        else:
            self.add(value)
        return f"{module}.{name}"

    def _bytecode(self, code: CodeType) -> str:
        """What a function does where its source is not to be had."""
        constants = [
            self._bytecode(each) if isinstance(each, CodeType) else self._spelled(each)
            for each in code.co_consts
        ]
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)
        return repr((code.co_code.hex(), constants, names))


def _inner(value: object) -> object:
    """The function inside a static or class method or a property."""
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    return value


def _source(thing: type | FunctionType) -> str | None:
    """The source, if it can be found and is of this thing: a file may have changed its lines."""
    try:
        found = inspect.getsource(thing)
    except (OSError, TypeError, IndexError, SyntaxError):
        return None
    return found if thing.__name__.strip("<>") in found else None


def _used(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Variables outside the function that it reads, by name, with their values now."""
    yield from _read_from(_globals_of(function.__code__), function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not set yet
            yield name, None


def _read_from(names: set[str], space: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name in sorted(names):
        if name in space:
            yield name, space[name]


def _globals_of(code: CodeType) -> set[str]:
    """Names of globals that a function and those inside it read."""
    found = {each.argval for each in dis.get_instructions(code) if each.opname in _GLOBAL}
    for each in code.co_consts:
        if isinstance(each, CodeType):
            found |= _globals_of(each)
    return found


def _array(value: object) -> str | None:
    """A tensor or array by its type, shape and bytes; None for anything else."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return f"{value.dtype} {tuple(value.shape)} {sha256(flat.numpy().tobytes()).hexdigest()}"
    if numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape} {sha256(value.tobytes()).hexdigest()}"
    return None
