"""The base of everything stored, and the free-form values in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue


def to_json(value: object) -> object:
    """Replace tuples by lists, and numbers that JSON cannot hold by texts that `float` reads."""
    # so that a record equals the one that is read back from its JSON
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value


Values = Annotated[dict[str, JsonValue], BeforeValidator(to_json)]
"""Free-form values by name. Infinities and NaN are kept as the texts `inf`, `-inf` and `nan`."""


class Record(BaseModel):
    """Base of everything stored: frozen, unknown fields refused, infinities and NaN kept."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
