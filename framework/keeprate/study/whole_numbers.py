"""Whole numbers of a study, and the ranges that they must be in."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ..plugins.parameter_types import INT64
from ..request import MOST_IMAGES, MOST_PROCESSES


def value_text(value: object) -> str:
    """Return a value as a message of one line can show it."""
    # Python refuses to write very long numbers out
    is_long = isinstance(value, int) and value.bit_length() > 128
    if isinstance(value, dict | list) or is_long or len(repr(value)) > _LONGEST:
        return {"dict": "key: value lines", "list": "a list"}.get(type(value).__name__, "this")
    return "nothing" if value is None else repr(value)


def _within(least: int, most: int) -> AfterValidator:
    """Return a validator that refuses whole numbers that are too small or too large to be used."""
    return AfterValidator(lambda value: from_to(value, least, most))


def from_to(value: Any, least: int, most: int) -> Any:
    if not least <= value <= most:
        raise ValueError(f"must be from {least} to {most}, not {value_text(value)}.")
    return value


_LONGEST = 40  # characters of a value that a message of one line can show
# strict: pydantic would take true for 1 and "64" for 64
Count = Annotated[int, Field(strict=True, ge=1), _within(1, INT64.stop - 1)]
BatchSize = Annotated[int, Field(strict=True, ge=1), _within(1, MOST_IMAGES)]
Seed = Annotated[int, Field(strict=True), _within(INT64.start, INT64.stop - 1)]
Workers = Annotated[int, Field(strict=True, ge=0), _within(0, MOST_PROCESSES)]
