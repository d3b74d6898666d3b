"""How series are told apart, in figure files and on the web page alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt

SERIES: Final = 14
"""As many in one chart as a reader still tells apart."""
MUTED: Final = "#8A8A8A"
"""Of what was not measured here; no series has it."""
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Told apart with any colour vision, on white and on black. Source: Okabe and Ito 2008."""
_SHAPES = {
    "circle": "M14 2a6 6 0 1 0 .01 0z",
    "square": "M8.5 2.5h11v11h-11z",
    "triangle-up": "M14 2l6.5 11.5h-13z",
    "diamond": "M14 1l6 7-6 7-6-7z",
    "triangle-down": "M14 14L7.5 2.5h13z",
    "cross": "M11.5 1h5v4.5h4.5v5h-4.5V15h-5v-4.5h-4.5v-5h4.5z",
    "triangle-right": "M20 8L8.500 14.5v-13z",
}
"""As many as share no divisor with the colours, and how the page's legend draws each."""
_DASHES = ((1, 0), (7, 3), (2, 2))


@dataclass(frozen=True)
class SeriesStyle:
    """How a key is drawn; the unpruned model has no colour and is drawn in the colour of text.

    `path` is the shape as SVG draws it about (14, 8), `dash` the strokes and gaps in pixels.
    """

    key: str
    colour: str | None
    shape: str
    path: str
    dash: tuple[int, int]


def looks(keys: Sequence[str], unpruned: Sequence[str]) -> list[SeriesStyle]:
    """A look for each key, those of the unpruned model first."""
    others = [key for key in keys if key not in unpruned]
    plain = [SeriesStyle(key, None, "circle", _SHAPES["circle"], _DASHES[0]) for key in unpruned]
    return plain + [_look(key, index) for index, key in enumerate(others)]


def colour(keys: Sequence[SeriesStyle], ink: object, legend: alt.Legend | None = None) -> alt.Color:
    """The channel that gives the field `key` its colour; `ink` is that of text."""
    return alt.Color("key:N", legend=legend, scale=_scale(keys, [k.colour or ink for k in keys]))


def shape(keys: Sequence[SeriesStyle], legend: alt.Legend | None = None) -> alt.Shape:
    """The channel that gives the field `key` its shape."""
    return alt.Shape("key:N", legend=legend, scale=_scale(keys, [look.shape for look in keys]))


def dash(keys: Sequence[SeriesStyle]) -> alt.StrokeDashValue:
    """The channel that tells lines of one colour apart; no scale, so that no legend takes it."""
    return alt.StrokeDashValue(
        value=list(_DASHES[0]),
        condition=[
            {"test": {"field": "key", "oneOf": alike}, "value": list(dashes)}
            for dashes in _DASHES[1:]
            if (alike := [look.key for look in keys if look.dash == dashes])
        ],
    )


def _look(key: str, index: int) -> SeriesStyle:
    name = list(_SHAPES)[index % len(_SHAPES)]
    dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    return SeriesStyle(key, _COLOURS[index % len(_COLOURS)], name, _SHAPES[name], dashes)


def _scale(keys: Sequence[SeriesStyle], values: Sequence[Any]) -> alt.Scale:
    return alt.Scale(domain=[look.key for look in keys], range=list(values))
