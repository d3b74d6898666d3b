"""Typed constructor arguments and their text form: how methods and data sets take parameters.

The arguments of a class's constructor are its parameters: name, type and default are read from the
signature. Types: bool, int, float, str, Path, Literal, `X | None`, `tuple[int, ...]` and the like.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, is_dataclass
from inspect import Parameter as Argument
from inspect import formatannotation, signature
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from .errors import KeeprateError, suggestion

if TYPE_CHECKING:
    from pydantic import JsonValue

T = TypeVar("T")

_NEXT_PARAMETER = re.compile(r"\s*,\s*(?=[^\W\d]\w*\s*=)")
_ASSIGNMENT = re.compile(r"([^\W\d]\w*)\s*=\s*(.*)", re.DOTALL)
_TRUTH = {"true": True, "yes": True, "on": True, "1": True}
_TRUTH |= {"false": False, "no": False, "off": False, "0": False}


@dataclass(frozen=True)
class Parameter:
    """One constructor argument: its name, its type, its default if not `required`."""

    name: str
    annotation: str
    default: object
    required: bool

    @property
    def text(self) -> str:
        """The parameter as a signature shows it: "iterations: tuple[int, ...] = (30, 5, 1)"."""
        declared = f"{self.name}: {self.annotation}"
        return declared if self.required else f"{declared} = {_shown(self.default)}"


def parameters_of(cls: type) -> tuple[Parameter, ...]:
    """Read the parameters of a class from its constructor's signature, in order.

    Raises KeeprateError for arguments that have no type or no name of their own (*args, **kwargs).
    """
    arguments = signature(cls).parameters.values()
    types = _types(cls) if arguments else {}
    return tuple(_parameter(cls, each, types) for each in arguments)


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Split "name:parameter=value,parameter=value" into the name and its parameter texts.

    A comma starts a new parameter only where an identifier and "=" follow, so values may hold
    commas: "zero-tprune:iterations=30,5,1,pattern=I'-S". A first value without "=" belongs to the
    first parameter, whatever its name, and is returned under "": "imagenet:/data/val".
    Raises KeeprateError for a missing name and for a parameter given twice.
    """
    name, _, rest = (part.strip() for part in text.partition(":"))
    if not name:
        raise KeeprateError(f"'{text}' names nothing; write name or name:parameter=value.")
    values: dict[str, str] = {}
    for part in _NEXT_PARAMETER.split(rest) if rest else ():
        found = _ASSIGNMENT.fullmatch(part)
        key, value = found.groups() if found else ("", part)
        if key in values:
            raise KeeprateError(f"Parameter '{key}' is given twice in '{text}'.")
        values[key] = value
    return name, values


def build(kind: str, cls: type[T], values: Mapping[str, object]) -> T:
    """Construct a `cls` from parameter values, checked against the types of its constructor.

    Text is converted to the parameter's type; other values must already be of it. The key ""
    stands for the first parameter. Raises KeeprateError, naming `kind` ("method", "data set") and
    the class's name, for unknown, missing and unfit values and for what the constructor refuses.
    """
    known = {each.name: each for each in parameters_of(cls)}
    label = f"{kind.capitalize()} '{_name(cls)}'"
    given = _named(kind, cls, list(known), values)
    missing = [name for name, each in known.items() if each.required and name not in given]
    if missing:
        example = f"{_name(cls)}:{','.join(f'{name}=...' for name in missing)}"
        raise KeeprateError(f"{label} needs {' and '.join(missing)}: write {example}.")
    types = _types(cls) if given else {}
    fit = {name: _fit(label, name, value, types[name]) for name, value in given.items()}
    try:
        return cls(**fit)
    except (ValueError, KeeprateError) as error:
        raise KeeprateError(f"{label}: {error}") from error


def values_of(instance: object) -> dict[str, JsonValue]:
    """Return the parameter values of a built instance by name, fit for JSON.

    A Path becomes text and a tuple a list; `build` accepts both again. Raises KeeprateError if the
    instance does not keep a parameter as an attribute of the same name, or keeps what JSON cannot
    say.
    """
    cls = type(instance)
    values: dict[str, JsonValue] = {}
    for each in parameters_of(cls):
        if not hasattr(instance, each.name):
            raise KeeprateError(
                f"{cls.__name__} must keep its parameter {each.name} as an attribute of that name."
            )
        values[each.name] = _plain(f"{cls.__name__}.{each.name}", getattr(instance, each.name))
    return values


def _parameter(cls: type, argument: Argument, types: Mapping[str, Any]) -> Parameter:
    if argument.kind not in (Argument.POSITIONAL_OR_KEYWORD, Argument.KEYWORD_ONLY):
        raise KeeprateError(f"{cls.__name__} takes {argument}: give each parameter a name.")
    if argument.name not in types:
        raise KeeprateError(f"{cls.__name__} declares no type for its parameter {argument.name}.")
    return Parameter(
        name=argument.name,
        annotation=formatannotation(types[argument.name]).replace("pathlib.", ""),
        default=None if argument.default is Argument.empty else argument.default,
        required=argument.default is Argument.empty,
    )


def _name(cls: type) -> str:
    return str(getattr(cls, "name", cls.__name__))


def _named(
    kind: str, cls: type, known: list[str], values: Mapping[str, object]
) -> dict[str, object]:
    """Replace the key "" by the first parameter's name and refuse keys that name no parameter."""
    if values and not known:
        raise KeeprateError(f"{kind.capitalize()} '{_name(cls)}' has no parameters.")
    given: dict[str, object] = {}
    for key, value in values.items():
        name = key or known[0]
        if name not in known:
            where = f"in {kind} '{_name(cls)}'"
            raise KeeprateError(f"No parameter '{name}' {where}. {suggestion(name, known)}")
        if name in given:
            raise KeeprateError(f"{kind.capitalize()} '{_name(cls)}': {name} is given twice.")
        given[name] = value
    return given


def _types(cls: type) -> dict[str, Any]:
    """Resolve the types of the constructor's arguments.

    An inherited dataclass field is spelled with names of the module that declares it, which only
    the class's own hints can resolve.
    """
    unresolved = None
    constructor = cls.__init__  # type: ignore[misc]
    for source in (constructor, cls) if is_dataclass(cls) else (constructor,):
        try:
            return get_type_hints(source)
        except NameError as error:
            unresolved = error
    raise KeeprateError(f"{cls.__name__} has a parameter of unknown type: {unresolved}.")


def _fit(label: str, name: str, value: object, hint: Any) -> object:
    try:
        return _converted(value, hint)
    except ValueError:
        shown = f"'{value}'" if isinstance(value, str) else repr(value)
        raise KeeprateError(f"{label}: {name} must be {_wanted(hint)}, not {shown}.") from None


def _converted(value: object, hint: Any) -> object:
    """Return `value` as the type `hint` takes it; ValueError if it does not fit."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _member(value, members)
    if origin is Literal:
        return _option(value, members)
    if origin is tuple:
        return _tuple(value, members)
    if isinstance(value, str) and hint is not str:
        return _parsed(value, hint)
    return _checked(value, hint)


def _parsed(text: str, hint: Any) -> object:
    if hint not in _FROM_TEXT:
        raise ValueError(text)
    return _FROM_TEXT[hint](text)


def _checked(value: object, hint: Any) -> object:
    """Return a typed `value` if it is of type `hint`; an int also serves as a float."""
    if isinstance(value, bool) and hint in (int, float):
        raise ValueError(value)
    if hint is float and isinstance(value, int):
        return float(value)
    if isinstance(hint, type) and not isinstance(value, hint):
        raise ValueError(value)
    return value


def _member(value: object, hints: tuple[Any, ...]) -> object:
    """Return `value` as the first member of a union that takes it, None tried before all others."""
    for hint in sorted(hints, key=lambda each: each is not NoneType):
        try:
            return _converted(value, hint)
        except ValueError:
            continue
    raise ValueError(value)


def _tuple(value: object, members: tuple[Any, ...]) -> tuple[object, ...]:
    """Return text such as "30,5,1" or "(30, 5, 1)", or a list or tuple, as a tuple of `members`."""
    if isinstance(value, str):
        inner = value.strip("()[] ").removesuffix(",")
        value = [part.strip() for part in inner.split(",")] if inner else []
    if not isinstance(value, list | tuple):
        raise ValueError(value)
    if members[-1:] == (Ellipsis,):
        members = (members[0],) * len(value)
    if len(value) != len(members):
        raise ValueError(value)
    return tuple(_converted(part, member) for part, member in zip(value, members, strict=True))


def _option(value: object, options: tuple[object, ...]) -> object:
    for option in options:
        if value == option or value == str(option):
            return option
    raise ValueError(value)


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text.lower()]


def _none(text: str) -> None:
    if text.lower() != "none":
        raise ValueError(text)


_FROM_TEXT: dict[Any, Callable[[str], object]] = {
    bool: _truth,
    int: int,
    float: float,
    Path: lambda text: Path(text).expanduser(),
    NoneType: _none,
}


def _wanted(hint: Any) -> str:
    """Say in words which values the type `hint` takes."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(_wanted(member) for member in members)
    if origin is Literal:
        return f"one of {', '.join(str(option) for option in members)}"
    if origin is tuple and members[-1:] == (Ellipsis,):
        return f"{_wanted(members[0]).split(' ', 1)[-1]}s separated by commas"
    if origin is tuple:
        return f"{len(members)} values separated by commas"
    if hint is NoneType:
        return "none"
    name = getattr(hint, "__name__", str(hint)).replace("Path", "path")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _shown(default: object) -> str:
    return repr(str(default)) if isinstance(default, Path) else repr(default)


def _plain(what: str, value: object) -> JsonValue:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(what, each) for each in value]
    raise KeeprateError(f"{what} holds a {type(value).__name__}, which a result cannot record.")
