"""Spell code that is in no file, typed into a notebook or a session, with all it refers to."""

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
    """Return the module of a class or function, "" where `exec` ran the code in no module."""
    module = thing.__module__ or ""
    # what `exec` makes without a module's name also says "builtins"
    is_python_made = not isinstance(thing, type) or bool(thing.__flags__ & _MADE_IN_PYTHON)
    return "" if module == "builtins" and is_python_made else module


class TypedCode:
    """The code of classes without a file, as texts that change when the code changes.

    Each class and function counts by its source, as `inspect` finds it (IPython keeps the source of
    its cells), or else by its bytecode and constants. The functions and classes of the session that
    it uses count in the same way, and so do the values of the variables that it reads.
    `is_library` tells, by name, which modules count by their name alone; other modules that have a
    file are collected in `modules`. An object of any other kind cannot be read and gets a text that
    never comes again, so that such a run is never taken for another one.
    """

    def __init__(self, is_library: Callable[[str], bool], has_file: Callable[[str], bool]) -> None:
        self.is_library, self.has_file = is_library, has_file
        self.texts: list[str] = []
        self.modules: set[str] = set()
        self._seen: set[int] = set()

    def add(self, thing: object) -> None:
        """Add a class or function of the session, with all it refers to, once."""
        if id(thing) in self._seen:
            return  # functions may refer to themselves and to each other
        self._seen.add(id(thing))
        if isinstance(thing, type):
            self._add_class(thing)
        elif isinstance(thing, FunctionType):
            self._add_function(thing)

    def _add_class(self, cls: type) -> None:
        self.texts.append(f"{cls.__qualname__} {_source(cls) or ''}")
        for name in sorted(vars(cls)):
            value = _unwrap(vars(cls)[name])
            # Python keeps caches and counters of its own in the other names
            if isinstance(value, FunctionType) or not name.startswith(("__", "_abc_")):
                self.texts.append(f"{name} {self._value_text(value)}")
        for base in cls.__bases__:
            self._value_text(base)

    def _add_function(self, function: FunctionType) -> None:
        code = function.__code__
        self.texts.append(
            f"{function.__qualname__} {_source(function) or self._bytecode_text(code)}"
        )
        self.texts.append(self._value_text([function.__defaults__, function.__kwdefaults__]))
        for name, value in _outer_variables(function):
            self.texts.append(f"{name} {self._value_text(value)}")

    def _value_text(self, value: object) -> str:
        """Return a value as text; add the classes and functions in it."""
        if isinstance(value, Enum):
            return str(value)
        if isinstance(value, _PLAIN):
            return repr(value)
        if isinstance(value, list | tuple | set | frozenset):
            parts = [self._value_text(item) for item in value]
            # the order of a set of texts differs from process to process
            ordered = sorted(parts) if isinstance(value, set | frozenset) else parts
            return f"{type(value).__name__}({', '.join(ordered)})"
        if isinstance(value, dict):
            pairs = [
                f"{self._value_text(key)}: {self._value_text(item)}" for key, item in value.items()
            ]
            return f"dict({', '.join(pairs)})"
        if is_dataclass(value) and not isinstance(value, type):
            parts = [self._value_text(getattr(value, field.name)) for field in fields(value)]
            return f"{self._name_and_add(type(value))}({', '.join(parts)})"
        return self._name_and_add(value) or _array_text(value) or uuid4().hex

    def _name_and_add(self, value: object) -> str | None:
        """Return the name of a module, class or function and add it; None for anything else."""
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

    def _bytecode_text(self, code: CodeType) -> str:
        """Return what a function does, where its source cannot be found."""
        constants = [
            self._bytecode_text(constant)
            if isinstance(constant, CodeType)
            else self._value_text(constant)
            for constant in code.co_consts
        ]
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_argcount)
        return repr((code.co_code.hex(), constants, names))


def _unwrap(value: object) -> object:
    """Return the function, or functions, inside a static or class method or a property."""
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    return value


def _source(thing: type | FunctionType) -> str | None:
    """Return the source of a class or function, None if it cannot be found."""
    try:
        source = inspect.getsource(thing)
    except (OSError, TypeError, IndexError, SyntaxError):
        return None
    # a file may have changed since: then its lines are no longer those of this thing
    return source if thing.__name__.strip("<>") in source else None


def _outer_variables(function: FunctionType) -> Iterator[tuple[str, object]]:
    """Yield the variables outside the function that it reads: names and present values."""
    yield from _find_variables(_globals_of(function.__code__), function.__globals__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # the variable has no value yet
            yield name, None


def _find_variables(names: set[str], space: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for name in sorted(names):
        if name in space:
            yield name, space[name]


def _globals_of(code: CodeType) -> set[str]:
    """Return the names of the globals that a function, and the functions inside it, read."""
    names = {step.argval for step in dis.get_instructions(code) if step.opname in _GLOBAL}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _globals_of(constant)
    return names


def _array_text(value: object) -> str | None:
    """Return a tensor or array as its type, shape and hash; None for anything else."""
    # where nobody has imported torch, there is no tensor, and nothing is imported for the check
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        # as bytes, because NumPy has no bfloat16
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return f"{value.dtype} {tuple(value.shape)} {sha256(flat.numpy().tobytes()).hexdigest()}"
    # the bytes of an array of objects are addresses, which tell nothing
    if numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape} {sha256(value.tobytes()).hexdigest()}"
    return None
