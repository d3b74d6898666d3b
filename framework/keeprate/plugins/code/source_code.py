"""What the source of a module says of its functions, classes and variables."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cached_property, lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from .libraries import is_library

_FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
_CALLED: Final = (
    *("frozenset", "set", "tuple", "list", "dict", "range", "float", "int", "str", "bool"),
    *("object", "Path", "PurePath"),
)
_CALLED_METHODS: Final = (
    *("compile", "resolve", "absolute", "joinpath", "with_name", "with_suffix"),
    *("join", "dirname", "abspath"),
)
_SIMPLE = (
    *(ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Name),
    *(ast.Attribute, ast.Call, ast.keyword, ast.operator, ast.unaryop, ast.expr_context),
)
"""Expressions whose value the source alone tells; calls only of the names above."""


class SourceCode:
    """The parsed source of a module; `code_of` finds it.

    A function or a value is explained if the source says what it is: then the hash of the file
    covers it. What was computed when the module was imported, or put there from outside, is not.
    """

    def __init__(self, content: bytes) -> None:
        try:
            self._tree = ast.parse(content)
            self._compiled = compile(content, "", "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            self._tree, self._compiled = ast.Module([], []), compile("", "", "exec")

    @cached_property
    def codes(self) -> frozenset[CodeType]:
        """The code of every function in the file, as Python compiles it."""
        return frozenset(_nested(self._compiled))

    @cached_property
    def definitions(self) -> Mapping[str, ast.ClassDef | _FUNCTIONS]:
        """The classes and functions by qualified name; of several the last."""
        return dict(_definitions(self._tree.body, ""))

    @cached_property
    def bindings(self) -> Mapping[str, list[ast.stmt]]:
        """The statements that give a name of the module its value, by name."""
        bound: dict[str, list[ast.stmt]] = {}
        for statement in _statements(self._tree.body):
            for name in _names_bound(statement):
                bound.setdefault(name, []).append(statement)
        return bound

    def has(self, function: FunctionType, qualname: str = "") -> bool:
        """Tell whether the file holds a function as it is, under this name if one is given."""
        code = function.__code__
        return code in self.codes and qualname in ("", code.co_qualname)

    def explains_defaults(self, function: FunctionType) -> bool:
        """Tell whether the source says what the default arguments of a function are."""
        given = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        node = self.definitions.get(function.__code__.co_qualname)
        if not given or not isinstance(node, _FUNCTIONS):
            return not given
        nodes = [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        space = function.__globals__
        pairs = zip(nodes, given, strict=False)
        return len(nodes) == len(given) and all(self._says(*pair, space) for pair in pairs)

    def explains_attribute(self, cls: type, name: str, value: object) -> bool:
        """Tell whether the source says what an attribute of a class of the module is."""
        node = self._attributes(cls.__qualname__).get(name)
        space = vars(sys.modules.get(cls.__module__, builtins))
        if node is not None:
            return self._says(node, value, space)
        # as `as_method` fills in what its decorator is not told
        inherited = [vars(base)[name] for base in cls.__mro__[1:] if name in vars(base)]
        made = isinstance(self.definitions.get(cls.__qualname__), _FUNCTIONS)
        return made and any(each is value or each == value for each in inherited[:1])

    def explains(self, name: str, value: object, space: Mapping[str, Any]) -> bool:
        """Tell whether the source says what a variable of the module is; `space` holds them all."""
        statements = self.bindings.get(name, [])
        if len(statements) != 1:
            return name in ("__file__", "__name__", "__package__")
        (statement,) = statements
        if isinstance(statement, ast.ClassDef | _FUNCTIONS):
            made = unwrapped(_compiled_by_triton(value))
            if isinstance(made, FunctionType):
                return self.has(made, name)
            return isinstance(value, type) and value.__qualname__ == name
        if isinstance(statement, ast.Import | ast.ImportFrom):
            return _imports(statement, name, value, space)
        expression = getattr(statement, "value", None)
        return isinstance(expression, ast.expr) and self._says(expression, value, space)

    def _attributes(self, qualname: str) -> Mapping[str, ast.expr]:
        """Return what a class's body, or the decorator that makes a class, gives to each name."""
        node, given = self.definitions.get(qualname), {}
        if isinstance(node, _FUNCTIONS):
            calls = [each for each in node.decorator_list if isinstance(each, ast.Call)]
            return {each.arg: each.value for call in calls for each in call.keywords if each.arg}
        for statement in node.body if node is not None else ():
            for name in _names_bound(statement):
                given[name] = getattr(statement, "value", None)
        return {name: each for name, each in given.items() if isinstance(each, ast.expr)}

    def _says(self, node: ast.expr, value: object, space: Mapping[str, Any]) -> bool:
        """Tell whether an expression is simple, and `value` its value."""
        if not all(self._is_simple(each, space) for each in ast.walk(node)):
            return False
        try:
            written = eval(compile(ast.Expression(node), "", "eval"), dict(space))
        except Exception:  # whatever it needs is no longer there
            return False
        return _is_same(written, value)

    def _is_simple(self, node: ast.AST, space: Mapping[str, Any]) -> bool:
        if isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Attribute):
                return called.attr in _CALLED_METHODS
            if not isinstance(called, ast.Name):
                return False
            return called.id in _CALLED or _is_record(space.get(called.id))
        if isinstance(node, ast.Attribute):
            return _is_of_library(node, space)
        if isinstance(node, ast.Name):
            if node.id not in space:
                return hasattr(builtins, node.id)
            return self.explains(node.id, space[node.id], space)
        return isinstance(node, _SIMPLE)


@lru_cache(maxsize=256)
def code_of(content: bytes) -> SourceCode:
    """Return the parsed source of a file; a file that is not Python says nothing."""
    return SourceCode(content)


def unwrapped(value: object) -> object:
    """Return the function under what libraries' decorators put around it."""
    while hasattr(value, "__wrapped__") and not isinstance(value, type):
        space = getattr(value, "__globals__", None)
        if space is not None and not is_library(str(space.get("__name__", ""))):
            break  # the user's own decorator has code that counts
        value = value.__wrapped__
    return value


def _compiled_by_triton(value: Any) -> object:
    """Return the function of a kernel; anything else as it is.

    A kernel is not looked into: it reads numbers and tensors it is given, and what else it calls is
    of its file or imported there.
    """
    return value.fn if type(value).__module__.startswith("triton.") else value


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _definitions(
    statements: list[ast.stmt], prefix: str
) -> Iterator[tuple[str, ast.ClassDef | _FUNCTIONS]]:
    for statement in _statements(statements):
        if isinstance(statement, ast.ClassDef | _FUNCTIONS):
            name = f"{prefix}{statement.name}"
            yield name, statement
            inner = name if isinstance(statement, ast.ClassDef) else f"{name}.<locals>"
            yield from _definitions(statement.body, f"{inner}.")


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements, also those in branches and loops, but not in functions and classes."""
    for statement in body:
        yield statement
        if not isinstance(statement, ast.ClassDef | _FUNCTIONS):
            for field in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _statements(handler.body)


def _names_bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement gives a value; a name that is only part of a target, too."""
    if isinstance(statement, ast.ClassDef | _FUNCTIONS):
        yield statement.name
    elif isinstance(statement, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in statement.names)
    elif isinstance(statement, ast.Assign):
        yield from (node.id for target in statement.targets for node in _stored(target))
    elif isinstance(statement, ast.AnnAssign | ast.AugAssign | ast.For):
        # an annotation alone gives no value
        is_given = not isinstance(statement, ast.AnnAssign) or statement.value is not None
        yield from (node.id for node in _stored(statement.target) if is_given)


def _stored(target: ast.expr) -> list[ast.Name]:
    # `a, b = 1, 2` gives neither the value of the statement: two bindings say that it is not simple
    names = [node for node in ast.walk(target) if isinstance(node, ast.Name)]
    return names if isinstance(target, ast.Name) else names * 2


def _is_of_library(node: ast.Attribute, space: Mapping[str, Any]) -> bool:
    """Tell whether an attribute is a library's: the source does not say what others are."""
    root: ast.expr = node
    while isinstance(root, ast.Attribute | ast.Call):
        root = root.value if isinstance(root, ast.Attribute) else root.func
    if not isinstance(root, ast.Name):
        return False
    if root.id in _CALLED or root.id == "__file__":
        return True
    value = space.get(root.id)
    if isinstance(value, ModuleType):
        return is_library(value.__name__)
    return is_library(getattr(value, "__module__", None) or type(value).__module__)


def _imports(
    statement: ast.Import | ast.ImportFrom, name: str, value: object, space: Mapping[str, Any]
) -> bool:
    """Tell whether a variable is what an import statement says, and is so where it comes from."""
    if isinstance(statement, ast.Import):
        wanted = next(
            alias.name if alias.asname else alias.name.partition(".")[0]
            for alias in statement.names
            if name in (alias.asname, alias.name.partition(".")[0])
        )
        return isinstance(value, ModuleType) and f".{value.__name__}".endswith(f".{wanted}")
    original = next(
        (each.name for each in statement.names if name in (each.asname, each.name)), name
    )
    package = str(space.get("__package__") or "")
    start = package.rsplit(".", statement.level - 1)[0] if statement.level else ""
    dotted = ".".join(filter(None, (start, statement.module)))
    # a module beside a plugin file is imported under the name of its folder
    for source in (f"{package.partition('.')[0]}.{dotted}", dotted):
        module = sys.modules.get(source)
        if module is not None and vars(module).get(original) is value:
            return is_library(source) or _is_defined_in(module, original, value)
        if isinstance(value, ModuleType) and value.__name__ == f"{source}.{original}":
            return True
    return isinstance(value, type | FunctionType) and is_library(str(value.__module__))


def _is_defined_in(module: ModuleType, name: str, value: object) -> bool:
    loader = getattr(module, "__file__", None) or ""
    if not loader.endswith(".py"):
        return True
    with open(loader, "rb") as file:
        return code_of(file.read()).explains(name, value, vars(module))


def _is_record(cls: object) -> bool:
    """Tell whether a class only holds what it is made with."""
    return isinstance(cls, type) and (is_dataclass(cls) or issubclass(cls, tuple))


def _is_same(written: object, value: object) -> bool:
    if type(written) is not type(value):
        return False
    if isinstance(written, list | tuple):
        pairs = zip(written, value, strict=False)  # type: ignore[call-overload]
        return len(written) == len(value) and all(  # type: ignore[arg-type]
            _is_same(*pair) for pair in pairs
        )
    if is_dataclass(written) and not isinstance(written, type):
        return _is_same(vars(written), vars(value))
    if isinstance(written, dict):
        return _is_same(list(written.items()), list(value.items()))  # type: ignore[attr-defined]
    if type(written) is object or written is value:
        return True
    if isinstance(written, set | frozenset):
        return sorted(map(repr, written)) == sorted(map(repr, value))  # type: ignore[call-overload]
    # repr as well: 0.0 == -0.0, and nan is not equal to itself
    return bool(repr(written) == repr(value)) and not repr(value).endswith(">")
