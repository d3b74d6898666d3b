"""The colour, shape and dash of each series, for figure files and the web page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import altair as alt

from keeprate.analysis.shown_series import ShownSeries

SERIES: Final = 14
"""Most series in one chart that a reader can still tell apart."""
LOOKS: Final = 42
"""Different pairs of colour and shape."""
MUTED: Final = "#8A8A8A"
"""The colour of what was not measured here; no series has it."""
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that differ for any colour vision, on white and on black. Source: Okabe and Ito 2008."""
_SHAPES = {
    "circle": "M14 2a6 6 0 1 0 .01 0z",
    "square": "M8.5 2.5h11v11h-11z",
    "triangle-up": "M14 2l6.5 11.5h-13z",
    "diamond": "M14 1l6 7-6 7-6-7z",
    "triangle-down": "M14 14L7.5 2.5h13z",
    "cross": "M11.5 1h5v4.5h4.5v5h-4.5V15h-5v-4.5h-4.5v-5h4.5z",
    "triangle-right": "M20 8L8.500 14.5v-13z",
}
"""Shapes, with the path that draws each in the page's legend.

There are seven: as 7 and 6 share no divisor, no pair of colour and shape comes twice in 42 series.
"""
_DASHES = ((1, 0), (7, 3), (2, 2))


@dataclass(frozen=True)
class SeriesStyle:
    """How a key is drawn; the unpruned model has no colour of its own but that of text.

    `path` is the shape as an SVG path around (14, 8), `dash` the strokes and gaps in pixels.
    """

    key: str
    colour: str | None
    shape: str
    path: str
    dash: tuple[int, int]


def looks(keys: Sequence[str], unpruned: Sequence[str]) -> list[SeriesStyle]:
    """Return a style for each key, those of the unpruned model first."""
    others = [key for key in keys if key not in unpruned]
    unpruned_styles = [
        SeriesStyle(key, None, "circle", _SHAPES["circle"], _DASHES[0]) for key in unpruned
    ]
    return unpruned_styles + [_series_style(key, index) for index, key in enumerate(others)]


def shown_looks(
    labels: Iterable[str], unpruned: Sequence[str], shown: ShownSeries
) -> list[SeriesStyle]:
    """Return a style for each series, by its label, in the order and colours asked for."""
    present = set(labels)
    styles = looks(shown.ordered(present), unpruned)
    return [
        replace(style, colour=shown.colour(style.key) or style.colour)
        for style in styles
        if style.key in present or style.key in unpruned
    ]


def colour(keys: Sequence[SeriesStyle], ink: object, legend: alt.Legend | None = None) -> alt.Color:
    """Return the channel that colours the field `key`; `ink` is the colour of text."""
    return alt.Color(
        "key:N", legend=legend, scale=_scale(keys, [style.colour or ink for style in keys])
    )


def shape(keys: Sequence[SeriesStyle], legend: alt.Legend | None = None) -> alt.Shape:
    """Return the channel that gives the field `key` its shape."""
    return alt.Shape("key:N", legend=legend, scale=_scale(keys, [style.shape for style in keys]))


def dash(keys: Sequence[SeriesStyle]) -> alt.StrokeDashValue:
    """Return the channel that distinguishes lines of one colour by their dashes."""
    # conditions and not a scale, which would add a legend of its own
    return alt.StrokeDashValue(
        value=list(_DASHES[0]),
        condition=[
            {"test": {"field": "key", "oneOf": same_dash}, "value": list(dashes)}
            for dashes in _DASHES[1:]
            if (same_dash := [style.key for style in keys if style.dash == dashes])
        ],
    )


def _series_style(key: str, index: int) -> SeriesStyle:
    name = list(_SHAPES)[index % len(_SHAPES)]
    dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    return SeriesStyle(key, _COLOURS[index % len(_COLOURS)], name, _SHAPES[name], dashes)


def _scale(keys: Sequence[SeriesStyle], values: Sequence[Any]) -> alt.Scale:
    return alt.Scale(domain=[style.key for style in keys], range=list(values))
