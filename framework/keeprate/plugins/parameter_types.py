"""Convert parameter values, texts or typed values, to the types that parameters declare."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from ..errors import suggestion
from .quoting import split_items

INT64 = range(-(2**63), 2**63)
"""The whole numbers that tensors, tables and files of results can hold."""
_FLOAT_BITS = 1024
"""Whole numbers of fewer bits are floats, too."""
_TRUTH = {"true": True, "yes": True, "on": True, "1": True}
_TRUTH |= {"false": False, "no": False, "off": False, "0": False}


class OutOfRange(ValueError):
    """A number of the right type that is too large; the message says what it must be."""

    def __init__(self) -> None:
        super().__init__(f"must be a number from {INT64.start} to {INT64.stop - 1}")


def converted(value: object, hint: Any) -> object:
    """Return `value` converted to the type `hint`. Raises ValueError if it does not fit."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _convert_union(value, members)
    if origin is Literal:
        return _find_option(value, members)
    if origin is tuple:
        return _convert_tuple(value, members)
    if isinstance(value, str) and hint is not str:
        return _parse(value, hint)
    return _check(value, hint)


def _parse(text: str, hint: Any) -> object:
    if hint not in _FROM_TEXT:
        raise ValueError(text)
    # Python itself refuses to read thousands of digits
    if hint is int and re.fullmatch(r"\s*[+-]?\d{100,}\s*", text):
        raise OutOfRange
    return _check(_FROM_TEXT[hint](text), hint)


def _check(value: object, hint: Any) -> object:
    """Return a typed `value` if it is of type `hint`; an int also serves as a float."""
    # bool is a subclass of int, but True is a mistake where a number is meant
    if isinstance(value, bool) and hint in (int, float):
        raise ValueError(value)
    if hint is float and isinstance(value, int) and value.bit_length() < _FLOAT_BITS:
        return float(value)
    if hint in (int, float) and isinstance(value, int) and value not in INT64:
        raise OutOfRange
    if isinstance(hint, type) and not isinstance(value, hint):
        raise ValueError(value)
    return value


def fits(value: object, hint: Any) -> bool:
    """Tell whether a default is of the type `hint`. Unlike `converted`, it never parses text."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, member) for member in members)
    if origin is Literal:
        return value in members
    if origin is tuple:
        return isinstance(value, list | tuple) and _fits_each(value, members)
    try:
        _check(value, hint)
    except ValueError:
        return False
    return True


def _fits_each(values: Sequence[object], members: tuple[Any, ...]) -> bool:
    if members[-1:] == (Ellipsis,):
        members = (members[0],) * len(values)
    same_length = len(values) == len(members)
    return same_length and all(
        fits(value, member) for value, member in zip(values, members, strict=True)
    )


def _convert_union(value: object, hints: tuple[Any, ...]) -> object:
    """Return `value` as the first member of a union that takes it."""
    # None is tried first: `str | None` would otherwise take "none" as a text
    refused = ValueError(value)
    for hint in sorted(hints, key=lambda member: member is not NoneType):
        try:
            return converted(value, hint)
        except OutOfRange as error:
            refused = error
        except ValueError:
            continue
    raise refused


def _convert_tuple(value: object, members: tuple[Any, ...]) -> tuple[object, ...]:
    """Return a list, a tuple or a text ("30,5,1" or "(30, 5, 1)") as a tuple of `members`."""
    if isinstance(value, str):
        inner = value.strip("()[] ").removesuffix(",")  # Python writes a tuple of one as (5,)
        value = split_items(inner) if inner else []
    if not isinstance(value, list | tuple):
        raise ValueError(value)
    if members[-1:] == (Ellipsis,):
        members = (members[0],) * len(value)
    if len(value) != len(members):
        raise ValueError(value)
    return tuple(converted(part, member) for part, member in zip(value, members, strict=True))


def _find_option(value: object, options: tuple[object, ...]) -> object:
    for option in options:
        if value == option or value == str(option):  # the command line gives 2 as "2"
            return option
    raise ValueError(value)


def _parse_bool(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text.lower()]


def _parse_none(text: str) -> None:
    if text.lower() != "none":
        raise ValueError(text)


_FROM_TEXT: dict[Any, Callable[[str], object]] = {
    bool: _parse_bool,
    int: int,
    float: float,
    # where no home is found, "~" is a plain character; Path.expanduser raises
    Path: lambda text: Path(os.path.expanduser(text)),
    NoneType: _parse_none,
}


def nearest(text: str, hint: Any) -> str:
    """Return "Did you mean 'cosine'?" for a text near to an option of the type, else nothing."""
    if get_origin(hint) is not Literal:
        return ""
    hinted = suggestion(text, map(str, get_args(hint)))
    return hinted if hinted.startswith("Did you mean") else ""


def wanted(hint: Any) -> str:
    """Return in words which values the type `hint` takes, for example "a path or none"."""
    origin, members = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join(wanted(member) for member in members)
    if origin is Literal:
        return f"one of {', '.join(str(option) for option in members)}"
    if origin is tuple and members[-1:] == (Ellipsis,):
        return f"{wanted(members[0]).split(' ', 1)[-1]}s separated by commas"
    if origin is tuple:
        return f"{len(members)} values separated by commas"
    if hint is NoneType:
        return "none"
    name = getattr(hint, "__name__", str(hint)).replace("Path", "path")
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
