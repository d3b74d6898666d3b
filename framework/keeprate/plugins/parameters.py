"""Typed constructor arguments and their text form: how methods and data sets take parameters.

The arguments of a class's constructor are its parameters. Their names, types and defaults are read
from the signature. Types are bool, int, float, str, Path, Literal, `X | None`, `tuple[int, ...]`
and the like.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from inspect import Parameter as Argument
from inspect import formatannotation, signature
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

from ..errors import AuthorError, KeeprateError, suggestion
from ..results.labels import text_of
from .author_errors import definition_place, describe_error, package_of, raise_place, sentence
from .parameter_types import INT64, OutOfRange, converted, fits, nearest, wanted
from .quoting import masked, quoted, unquoted

if TYPE_CHECKING:
    from pydantic import JsonValue

T = TypeVar("T")

_NEXT_PARAMETER = re.compile(r"\s*,\s*(?=[^\W\d]\w*\s*=)")
_NEEDS_QUOTES = re.compile(rf"""^[\s"']|\s\Z|[=,(\[]\s*["']|{_NEXT_PARAMETER.pattern}""")
_ITEM_NEEDS_QUOTES = re.compile(r"""^\Z|^[\s']|\s\Z|[,="()\[\]]""")
_ASSIGNMENT = re.compile(r"([^\W\d]\w*)\s*=\s*(.*)", re.DOTALL)


@dataclass(frozen=True)
class Parameter:
    """One constructor argument: its name, its type, and its default if it is not `required`."""

    name: str
    annotation: str
    default: object
    required: bool

    @property
    def text(self) -> str:
        """The parameter as a signature shows it: "iterations: tuple[int, ...] = (30, 5, 1)"."""
        declared = f"{self.name}: {self.annotation}"
        return declared if self.required else f"{declared} = {_default_text(self.default)}"


def parameters_of(cls: type) -> tuple[Parameter, ...]:
    """Return the parameters of a class, in the order of its constructor's signature.

    Raises KeeprateError for arguments that have no type or no name of their own (*args, **kwargs).
    """
    arguments = signature(cls).parameters.values()
    types = _types(cls) if arguments else {}
    return tuple(_parameter(cls, argument, types) for argument in arguments)


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """Split "name:parameter=value,parameter=value" into the name and its parameter texts.

    A comma starts a new parameter only where an identifier and "=" follow, so values may hold
    commas: "zero-tprune:iterations=30,5,1,pattern=I'-S". A first value without "=" belongs to the
    first parameter, whatever its name, and is returned under "": "imagenet:/data/val". A value in
    quotes, single or double, is taken as it is: 'imagenet:"/data/lr=0.1,b=2"'.
    Raises KeeprateError for a missing name, a parameter given twice and a quote that is not closed.
    """
    name, _, rest = (part.strip() for part in text.partition(":"))
    if not name:
        raise KeeprateError(f"'{text}' names nothing; write name or name:parameter=value.")
    values: dict[str, str] = {}
    # characters in quotes are hidden, so that no parameter begins there
    commas = [match.span() for match in _NEXT_PARAMETER.finditer(masked(rest))]
    edges = [(0, 0), *commas, (len(rest), len(rest))] if rest else []
    for (_, begin), (end, _) in pairwise(edges):
        match = _ASSIGNMENT.fullmatch(rest[begin:end])
        key, value = match.groups() if match else ("", rest[begin:end])
        if key in values:
            raise KeeprateError(f"Parameter '{key}' is given twice in '{text}'.")
        if value[:1] in ("'", '"') and not masked(value).startswith("_"):
            raise KeeprateError(f"The quote before {value[1:]} in '{text}' must end that value.")
        values[key] = unquoted(value)
    return name, values


def spec_text(name: str, values: Mapping[str, object]) -> str:
    """Return the text "name:parameter=value,parameter=value" that `parse_spec` and `build` read."""
    texts = [f"{key}={_value_text(value)}" for key, value in values.items()]
    return f"{name}:{','.join(texts)}" if texts else name


def _value_text(value: object) -> str:
    if not isinstance(value, list | tuple):
        text = _plain_text(value)
        return quoted(text) if _NEEDS_QUOTES.search(text) else text
    items = [_plain_text(item) for item in value]
    if not any(_ITEM_NEEDS_QUOTES.search(item) for item in items):
        return ",".join(items)
    # in brackets, so that a single item in quotes is not taken for the whole value
    return f"({','.join(quoted(item) for item in items)},)"


def _plain_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def build(kind: str, cls: type[T], values: Mapping[str, object]) -> T:
    """Construct a `cls` from parameter values, checked against the types of its constructor.

    Text is converted to the parameter's type; other values must already be of this type. The key ""
    stands for the first parameter. Raises KeeprateError for unknown, missing and unfit values and
    for values that the constructor refuses; it names `kind` ("method", "data set") and the class.
    """
    parameters = {parameter.name: parameter for parameter in parameters_of(cls)}
    label = f"{kind.capitalize()} '{_name(cls)}'"
    named_values = _name_values(kind, cls, list(parameters), values)
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.required and name not in named_values
    ]
    if missing:
        example = f"{_name(cls)}:{','.join(f'{name}=...' for name in missing)}"
        raise KeeprateError(f"{label} needs {' and '.join(missing)}: write {example}.")
    types = _types(cls) if named_values else {}
    converted_values = {
        name: _convert(label, name, value, types[name]) for name, value in named_values.items()
    }
    try:
        return cls(**converted_values)
    except (ValueError, KeeprateError) as error:
        raise KeeprateError(f"{label}: {error}") from error
    except Exception as error:
        location = raise_place(error, package_of(cls))
        if not location:  # no code of the plugin raised it: a bug of keeprate keeps its traceback
            raise
        message, remedy = describe_error(error)
        raise KeeprateError(
            sentence(f"{label} cannot be made: {message}", location, remedy)
        ) from error


def check_defaults(cls: type) -> None:
    """Raise AuthorError for a parameter whose default is not of its declared type."""
    parameters = parameters_of(cls)
    types = _types(cls) if parameters else {}
    for parameter in parameters:
        if not parameter.required and not fits(parameter.default, types[parameter.name]):
            kind = "None" if parameter.default is None else type(parameter.default).__name__
            raise AuthorError(
                f"{cls.__name__} has the parameter {parameter.name}: {parameter.annotation} with "
                f"the default {_default_text(parameter.default)}, which is of another type",
                f"Give it another default, or declare {parameter.name}: {parameter.annotation} | "
                f"{kind}.",
                cls,
            )


def values_of(instance: object) -> dict[str, JsonValue]:
    """Return the parameter values of a built instance by name, fit for JSON.

    A Path becomes text, a tuple a list, a data set its name; `build` accepts them again. Raises
    KeeprateError if the instance does not keep a parameter as an attribute of the same name, or
    keeps a value that JSON cannot hold.
    """
    cls = type(instance)
    for name in forgotten(instance):
        message, remedy = not_kept(cls, name)
        raise KeeprateError(sentence(message, definition_place(cls), remedy))
    names = [parameter.name for parameter in parameters_of(cls)]
    return {name: _to_json(f"{cls.__name__}.{name}", getattr(instance, name)) for name in names}


def changed_parameters(instance: object) -> str:
    """Return a built instance's kept parameters that are no defaults: "pattern=I iterations=5"."""
    changed = {
        parameter.name: getattr(instance, parameter.name)
        for parameter in parameters_of(type(instance))
        if getattr(instance, parameter.name, parameter.default) != parameter.default
    }
    return text_of(changed)


def forgotten(instance: object) -> list[str]:
    """Return the parameters that a built instance does not keep as attributes."""
    return [
        parameter.name
        for parameter in parameters_of(type(instance))
        if not hasattr(instance, parameter.name)
    ]


def not_kept(cls: type, name: str) -> tuple[str, str]:
    """Return the message that a class does not keep a parameter, and the remedy."""
    message = f"{cls.__name__} must keep its parameter {name} as an attribute of that name"
    return message, f"Write self.{name} = {name} in __init__."


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
    """Return how to write an argument with a type: the type of its default, or else float."""
    if argument.default is Argument.empty:
        return f"{argument.name}: float"
    kind = type(argument.default).__name__.replace("NoneType", "float | None")
    return f"{argument.name}: {kind} = {_default_text(argument.default)}"


def _name(cls: type) -> str:
    return str(getattr(cls, "name", cls.__name__))


def _name_values(
    kind: str, cls: type, parameter_names: list[str], values: Mapping[str, object]
) -> dict[str, object]:
    """Replace the key "" by the first parameter's name; refuse keys that name no parameter."""
    if values and not parameter_names:
        raise KeeprateError(f"{kind.capitalize()} '{_name(cls)}' has no parameters.")
    named_values: dict[str, object] = {}
    for key, value in values.items():
        name = key or parameter_names[0]
        if name not in parameter_names:
            where = f"in {kind} '{_name(cls)}'"
            raise KeeprateError(
                f"No parameter '{name}' {where}. {suggestion(name, parameter_names)}"
            )
        if name in named_values:
            raise KeeprateError(f"{kind.capitalize()} '{_name(cls)}': {name} is given twice.")
        named_values[name] = value
    return named_values


def _types(cls: type) -> dict[str, Any]:
    """Resolve the types of the constructor's arguments.

    An inherited dataclass field is spelled with names of the module that declares it, which only
    the class's own hints can resolve.
    """
    unresolved = None
    constructor = cls.__init__  # type: ignore[misc]
    # the constructor first: hints of the class itself are those of its attributes
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


def _convert(label: str, name: str, value: object, hint: Any) -> object:
    try:
        return converted(value, hint)
    except OutOfRange as error:
        raise KeeprateError(f"{label}: {name} {error}.") from None
    except ValueError:
        value_text = f"'{value}'" if isinstance(value, str) else repr(value)
        message = f"{label}: {name} must be {wanted(hint)}, not {value_text}."
        raise KeeprateError(f"{message} {nearest(str(value), hint)}".rstrip()) from None


def _default_text(default: object) -> str:
    return repr(str(default)) if isinstance(default, Path) else repr(default)


def _to_json(attribute: str, value: object) -> JsonValue:
    if isinstance(value, int) and value not in INT64:
        raise KeeprateError(f"{attribute} {OutOfRange()}.")
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):  # an enumeration of texts is a text of another class
        return str(value)
    if isinstance(value, list | tuple):
        return [_to_json(attribute, item) for item in value]
    if hasattr(value, "fingerprint"):  # a data set: its class is not asked for, as that needs torch
        return spec_text(_name(type(value)), values_of(value))
    raise KeeprateError(
        f"{attribute} holds a {type(value).__name__}, which a result cannot record."
    )
