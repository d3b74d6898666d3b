"""Values as texts that are equal in every process, and differ when the values do."""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable
from enum import Enum
from hashlib import sha256
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, ModuleType
from typing import Any

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), type(NotImplemented))


class NoValueError(Exception):
    """A value has nothing that another process could compare; its message is the value's type."""


class ValueText:
    """Spells values. `code_text` spells modules, classes and functions, `path_text` paths.

    An object counts by what pickle would keep of it, tensors and arrays by their bytes.
    """

    def __init__(
        self, code_text: Callable[[Any, str], str], path_text: Callable[[PurePath], str]
    ) -> None:
        self._code_text, self._path_text = code_text, path_text
        self._open: list[object] = []

    def of(self, value: object, label: str) -> str:
        """Return a value as text; `label` says where it was found.

        Raises NoValueError for open files, locks, generators, and whatever else pickle refuses.
        """
        if isinstance(value, Enum):
            return f"{type(value).__qualname__}.{value.name}"
        if type(value) in _PLAIN:
            return repr(value)
        if isinstance(value, PurePath):
            return self._path_text(value)
        if isinstance(value, type | FunctionType | ModuleType) or _is_named(value):
            return self._code_text(value, label)
        if any(value is each for each in self._open):
            return f"again {next(i for i, each in enumerate(self._open) if each is value)}"
        self._open.append(value)
        try:
            return self._of_parts(value, label)
        finally:
            self._open.pop()

    def _of_parts(self, value: Any, label: str) -> str:
        if type(value) in (list, tuple):
            return f"{type(value).__name__}({self._all(value, label)})"
        if type(value) in (set, frozenset):
            # the order of a set differs from process to process
            return f"{type(value).__name__}({sorted(self.of(each, label) for each in value)})"
        if type(value) in (dict, MappingProxyType):
            return f"dict({self._all([part for item in value.items() for part in item], label)})"
        return _array_text(value) or self._of_object(value, label)

    def _all(self, values: Any, label: str) -> str:
        return ", ".join(self.of(each, f"{label}[{i}]") for i, each in enumerate(values))

    def _of_object(self, value: Any, label: str) -> str:
        try:
            if type(value) is object:
                raise TypeError
            reduce = copyreg.dispatch_table.get(type(value))  # as of compiled patterns
            parts = reduce(value) if reduce is not None else value.__reduce_ex__(4)
            if isinstance(parts, str):
                return f"{type(value).__module__}.{parts}"
            parts = [part if i < 3 else list(part or ()) for i, part in enumerate(parts[:5])]
        except NoValueError:
            raise
        except Exception as error:  # whatever the author's class raises
            raise NoValueError(type(value).__qualname__) from error
        return self._all(parts, label)


def _is_named(value: object) -> bool:
    """Tell whether a value is a function of C that its module and name tell."""
    if not isinstance(value, BuiltinFunctionType):
        return False
    return value.__self__ is None or isinstance(value.__self__, type | ModuleType)


def _array_text(value: Any) -> str | None:
    """Return a tensor or array as its type, shape and hash; None for anything else."""
    # where nobody has imported torch, there is no tensor, and nothing is imported for the check
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        try:
            # as bytes, because NumPy has no bfloat16
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest = sha256(flat.numpy()).hexdigest()
        except (RuntimeError, NotImplementedError) as error:  # sparse, or on the meta device
            raise NoValueError(type(value).__qualname__) from error
        return f"{type(value).__name__} {value.dtype} {tuple(value.shape)} {digest}"
    # the bytes of an array of objects are addresses, which tell nothing
    if numpy is not None and isinstance(value, numpy.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape} {sha256(value.tobytes()).hexdigest()}"
    return None
