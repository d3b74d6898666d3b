"""What a figure for a paper shows and how large it is: from Python, YAML or the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from ..errors import KeeprateError, unknown_name
from .model import ReportOptions
from .shown_series import ShownSeries

_POINTS: Final = {"in": 72.0, "cm": 72 / 2.54, "mm": 72 / 25.4, "pt": 72 / 72.27, "bp": 1.0}
"""The units of lengths in big points, 72 to an inch; TeX has 72.27 of its own to an inch."""


def _names(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _length(value: object) -> object:
    """Return "3.25in" in points; a number is one of points."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]+)\s*", value)
    if not found or found[2] not in _POINTS:
        raise ValueError(f"'{value}' is no length: write 3.25in ({', '.join(_POINTS)}).")
    return float(found[1]) * _POINTS[found[2]]


def _range(value: object) -> object:
    """Return "0.6:1.1" as its two ends."""
    try:
        ends = value.split(":") if isinstance(value, str) else list(value)  # type: ignore[call-overload]
        low, high = (float(end) for end in ends)
    except (TypeError, ValueError):
        low = high = 0.0
    if not low < high:
        raise ValueError(f"'{value}' is no range: write LOW:HIGH, as 0.6:1.1.")
    return low, high


def _colours(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, colour in value.items():
        # other names would be drawn as black
        if not re.fullmatch(r"#[0-9A-Fa-f]{6}", colour):
            raise ValueError(f"'{colour}' of {name} is no colour: write #RRGGBB, as #0072B2.")
    return value


Names = Annotated[tuple[str, ...], BeforeValidator(_names)]
Length = Annotated[float, BeforeValidator(_length), Field(ge=36, le=3600, allow_inf_nan=False)]
Range = Annotated[tuple[float, float], BeforeValidator(_range)]


class Zoom(BaseModel):
    """The part of the axes that is drawn: costs in the unit of the axis, scores in theirs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: Range | None = None
    y: Range | None = None


class Figure(BaseModel):
    """A figure of scores against costs. Lengths are in points, or texts as "3.25in" or "8cm".

    `methods`, `models`, `labels`, `order` and `colours` are as in `ShownSeries`. `axis` is what
    stands below: "macs", or measured "throughput". `width` is that of the whole figure, `height`
    that of the axes of a panel. Panels stand in `columns`, each with the name of its model where
    there are several; `title` is written above them. `font_size` is in points.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: Names = ()
    models: Names = ()
    labels: Mapping[str, str] = {}
    order: Names = ()
    colours: Annotated[Mapping[str, str], AfterValidator(_colours)] = {}
    metric: str | None = None
    axis: Literal["macs", "throughput"] = "macs"
    log_x: bool = False
    zoom: Zoom = Zoom()
    width: Length = 3.25 * 72
    height: Length | None = None
    columns: int = Field(default=1, ge=1, le=12)
    title: str = ""
    intervals: bool = True
    front: bool = True
    font_size: float = Field(default=8.0, ge=4, le=24)

    @model_validator(mode="after")
    def _check_zoom(self) -> Self:
        if self.log_x and self.zoom.x and self.zoom.x[0] <= 0:
            raise ValueError("zoom.x must begin above 0 on a logarithmic axis.")
        return self

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Self:
        """Return the figure with these values; KeeprateError, with `where`, for a mistake."""
        for key in values:
            if key not in cls.model_fields:
                raise KeeprateError(f"{where}: {unknown_name('key', str(key), cls.model_fields)}")
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            unknown = first["type"] == "extra_forbidden"
            message = "no such key." if unknown else first["msg"].removeprefix("Value error, ")
            raise KeeprateError(": ".join(filter(None, (where, key, message)))) from error

    @property
    def options(self) -> ReportOptions:
        """What findings are made with for this figure."""
        shown = ShownSeries(self.methods, self.models, self.labels, self.order, self.colours)
        return ReportOptions(metric=self.metric, shown=shown, axis=self.axis)
