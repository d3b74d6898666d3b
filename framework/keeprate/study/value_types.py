"""The types of values in a study, each with the spellings that it is read from."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from ..errors import unknown_name
from ..request import (
    ACCELERATORS,
    INTERPOLATIONS,
    MOST_PIXELS,
    MOST_PROCESSES,
    PRECISIONS,
    Part,
    plain_folder,
)
from .whole_numbers import from_to, value_text

T = TypeVar("T")


def _as_list(value: Any) -> Any:
    """Return a single value as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _number_to_text(value: object) -> object:
    """Return a number as its text, because budgets and schedules are texts."""
    # True is an int, but no budget
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _expand_path(value: object) -> object:
    return Path(os.path.expanduser(value)) if isinstance(value, str) else value


def _parse_pixels(value: object) -> object:
    """Return 384, "384x288" or [384, 288], height first, as (height, width) in pixels."""
    if isinstance(value, str):
        value = [int(side) if re.fullmatch(r"\d{1,18}", side) else 0 for side in value.split("x")]
    # one number is the side of a square
    sides = value * (2 // len(value)) if isinstance(value, list) and value else [value, value]
    if len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides):
        raise ValueError("must be pixels, as 384, or HEIGHTxWIDTH, as 384x288.")
    return tuple(from_to(side, 1, MOST_PIXELS) for side in sides)


def _parse_channels(value: object) -> object:
    """Return "0.5,0.4,0.3", [0.5, 0.4, 0.3] or one number for all as three numbers."""
    try:
        parts = value.split(",") if isinstance(value, str) else value
        numbers = [float(part) for part in _as_list(parts)]
    except (TypeError, ValueError):
        numbers = []
    # published values are sometimes for pixels from 0 to 255
    if len(numbers) not in (1, 3) or not all(0 <= number <= 1 for number in numbers):
        raise ValueError("must be three numbers from 0 to 1, one for each channel, as 0.5,0.5,0.5.")
    return tuple(numbers * (3 // len(numbers)))


def _parse_part(value: object) -> object:
    """Return "0.5..1" or [0.5, 1] as a part of the samples."""
    try:
        parts = value.split("..") if isinstance(value, str) else _as_list(value)
        ends = [float(part) for part in parts]
    except (TypeError, ValueError):
        ends = []
    if len(ends) != 2 or not 0 <= ends[0] < ends[1] <= 1:
        raise ValueError("must be the start and the end of a part from 0 to 1, as 0.5..1.")
    return Part(*ends)


def _over_zero(value: tuple[float, ...]) -> tuple[float, ...]:
    if min(value) <= 0:
        raise ValueError("must be over 0.")
    return value


def _as_zips(value: object) -> object:
    """Return a single list of names as a list of one such list."""
    is_one = isinstance(value, list) and all(isinstance(name, str) for name in value)
    return [value] if is_one else value


def _check_devices(value: object) -> object:
    # the exact type, because True is an int as well
    if value != "auto" and not (type(value) is int and value > 0):
        raise ValueError("must be a number of devices from 1, or auto.")
    return value if value == "auto" else from_to(value, 1, MOST_PROCESSES)


def _check_name(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"must be a name, not {value_text(value)}.")
    return value


def _one_of(kind: str, known: Collection[str]) -> BeforeValidator:
    """Return a validator that refuses names that are not `known`, and suggests the nearest."""

    def check(value: object) -> object:
        if value not in known:
            raise ValueError(str(unknown_name(kind, str(value), known)))
        return value

    return BeforeValidator(check)


File = Annotated[Path, BeforeValidator(_expand_path)]
Text = Annotated[str, BeforeValidator(_number_to_text)]
ImageSize = Annotated[tuple[int, int], BeforeValidator(_parse_pixels)]
Channels = Annotated[tuple[float, float, float], BeforeValidator(_parse_channels)]
Deviations = Annotated[Channels, AfterValidator(_over_zero)]
PartOfSamples = Annotated[Part, BeforeValidator(_parse_part)]
Share = Annotated[float, Field(strict=True, gt=0, le=1)]
Name = Annotated[str, BeforeValidator(_check_name)]
FolderName = Annotated[str, BeforeValidator(_number_to_text), AfterValidator(plain_folder)]
Interpolation = Annotated[str, _one_of("interpolation", INTERPOLATIONS)]
Precision = Annotated[str, _one_of("precision", PRECISIONS)]
Accelerator = Annotated[str, _one_of("accelerator", ACCELERATORS)]
Devices = Annotated[int | str, BeforeValidator(_check_devices)]
Zips = Annotated[tuple[tuple[str, ...], ...], BeforeValidator(_as_zips)]
Some = Annotated[tuple[T | None, ...], BeforeValidator(_as_list)]
"""One or several; a refused item becomes None, so that the others keep their position."""
Items = Annotated[Some[T], Field(min_length=1)]
