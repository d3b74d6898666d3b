"""Typed constructor arguments and their text form: how methods and data sets take parameters.

The arguments of a class's constructor are its parameters: name, type and default are read from the
signature. Types: bool, int, float, str, Path, Literal, `X | None`, `tuple[int, ...]` and the like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from inspect import Parameter as Argument
from inspect import formatannotation, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ..errors import AuthorError, KeeprateError, suggestion
from .author_errors import definition_place, describe_error, package_of, raise_place, sentence
from .parameter_types import converted, fits, wanted

if TYPE_CHECKING:
    from pydantic import JsonValue

T = TypeVar("T")

_NEXT_PARAMETER = re.compile(r"\s*,\s*(?=[^\W\d]\w*\s*=)")
_ASSIGNMENT = re.compile(r"([^\W\d]\w*)\s*=\s*(.*)", re.DOTALL)


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
    except Exception as error:
        place = raise_place(error, package_of(cls))
        if not place:
            raise
        said, remedy = describe_error(error)
        raise KeeprateError(sentence(f"{label} cannot be made: {said}", place, remedy)) from error


def check_defaults(cls: type) -> None:
    """Raise AuthorError for a parameter whose default is not of the type it declares."""
    declared = parameters_of(cls)
    types = _types(cls) if declared else {}
    for each in declared:
        if not each.required and not fits(each.default, types[each.name]):
            kind = "None" if each.default is None else type(each.default).__name__
            raise AuthorError(
                f"{cls.__name__} has the parameter {each.name}: {each.annotation} with the "
                f"default {_shown(each.default)}, which is of another type",
                f"Give it another default, or declare {each.name}: {each.annotation} | {kind}.",
                cls,
            )


def values_of(instance: object) -> dict[str, JsonValue]:
    """Return the parameter values of a built instance by name, fit for JSON.

    A Path becomes text and a tuple a list; `build` accepts both again. Raises KeeprateError if the
    instance does not keep a parameter as an attribute of the same name, or keeps what JSON cannot
    say.
    """
    cls = type(instance)
    for name in forgotten(instance):
        said, remedy = not_kept(cls, name)
        raise KeeprateError(sentence(said, definition_place(cls), remedy))
    names = [each.name for each in parameters_of(cls)]
    return {name: _plain(f"{cls.__name__}.{name}", getattr(instance, name)) for name in names}


def forgotten(instance: object) -> list[str]:
    """Return the parameters that a built instance does not keep as attributes."""
    return [p.name for p in parameters_of(type(instance)) if not hasattr(instance, p.name)]


def not_kept(cls: type, name: str) -> tuple[str, str]:
    """Say that a class does not keep a parameter, and the remedy."""
    said = f"{cls.__name__} must keep its parameter {name} as an attribute of that name"
    return said, f"Write self.{name} = {name} in __init__."


def _parameter(cls: type, argument: Argument, types: Mapping[str, Any]) -> Parameter:
    if argument.kind not in (Argument.POSITIONAL_OR_KEYWORD, Argument.KEYWORD_ONLY):
        raise AuthorError(
            f"{cls.__name__} takes {argument}: give each parameter a name.", written=cls
        )
    if argument.name not in types:
        raise AuthorError(
            f"{cls.__name__} declares no type for its parameter {argument.name}.",
            f"Write its type: {_declaration(argument)}.",
            cls,
        )
    return Parameter(
        name=argument.name,
        annotation=formatannotation(types[argument.name]).replace("pathlib.", ""),
        default=None if argument.default is Argument.empty else argument.default,
        required=argument.default is Argument.empty,
    )


def _declaration(argument: Argument) -> str:
    """Return how an argument is written with a type: that of its default, or else a float."""
    if argument.default is Argument.empty:
        return f"{argument.name}: float"
    kind = type(argument.default).__name__.replace("NoneType", "float | None")
    return f"{argument.name}: {kind} = {_shown(argument.default)}"


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
    raise AuthorError(
        f"{cls.__name__} has a parameter of unknown type: {unresolved}.",
        "Import the type where the plugin runs, not only under TYPE_CHECKING.",
        cls,
    )


def _fit(label: str, name: str, value: object, hint: Any) -> object:
    try:
        return converted(value, hint)
    except ValueError:
        shown = f"'{value}'" if isinstance(value, str) else repr(value)
        raise KeeprateError(f"{label}: {name} must be {wanted(hint)}, not {shown}.") from None


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
