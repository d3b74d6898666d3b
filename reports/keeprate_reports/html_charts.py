"""The charts of the HTML report, without data: the page fills them with what its filters leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A8A")
"""Told apart with any colour vision, on white and on black. Source: Okabe and Ito 2008."""
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
"""As many as share no divisor with the colours, so that 42 keys look different."""
_HEIGHT, _LOW_HEIGHT = 400, 260
_INK = alt.param(name="ink", value="black")
"""The page's own colour of text, which it sets: dark on light or light on dark."""
_BARS = alt.param(name="bars", value=True)
_DATUM = alt.TooltipContent(content="data")


@dataclass(frozen=True)
class Look:
    """How a key is drawn; the unpruned model has no colour and is drawn in the page's ink."""

    key: str
    colour: str | None
    shape: str


def looks(keys: Sequence[str], unpruned: Sequence[str]) -> list[Look]:
    """A look for each key, those of the unpruned model first."""
    others = [key for key in keys if key not in unpruned]
    plain = [Look(key, None, "circle") for key in unpruned]
    return plain + [
        Look(key, _COLOURS[index % len(_COLOURS)], _SHAPES[index % len(_SHAPES)])
        for index, key in enumerate(others)
    ]


def accuracy_chart(cost: str, title: str, keys: Sequence[Look]) -> dict[str, object]:
    """Accuracy against the column `cost`: intervals, curves, points, and the front where asked."""
    x = alt.X(f"{cost}:Q", title=title, scale=alt.Scale(zero=False))
    points = alt.Chart(alt.NamedData("points")).encode(x=x, color=_colour(keys))
    y, shape = _accuracy("accuracy"), _shape(keys)
    bars = alt.condition(_BARS, alt.value(0.55), alt.value(0))
    layers: list[alt.Chart] = [
        alt.Chart(alt.NamedData("unpruned"))
        .mark_rule(strokeDash=[5, 4], stroke=alt.expr("ink"))
        .encode(y=y),
        points.mark_rule(strokeWidth=1.3).encode(y=_accuracy("low"), y2="high:Q", opacity=bars),
        alt.Chart(alt.NamedData("lines"))
        .mark_line(strokeWidth=1.6)
        .encode(x=x, y=y, color=_colour(keys), detail="line:N"),
        *_front(x, y),
        points.mark_point(size=75, filled=True, opacity=1, tooltip=_DATUM).encode(y=y, shape=shape),
        alt.Chart(alt.NamedData("focus"))
        .mark_point(size=420, filled=False, strokeWidth=3, stroke=alt.expr("ink"))
        .encode(x=x, y=y),
    ]
    return _finished(alt.LayerChart(layer=layers), _HEIGHT, _BARS)


def token_chart(keys: Sequence[Look]) -> dict[str, object]:
    """Mean tokens after each block, a line for each run."""
    lines = alt.Chart(alt.NamedData("tokens")).encode(
        x=alt.X("block:Q", title="After block", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("tokens:Q", title="Mean tokens per sample"),
        color=_colour(keys),
        detail="run_id:N",
    )
    marks = lines.mark_line(interpolate="step-before", strokeWidth=1.6, opacity=0.8)
    dots = lines.mark_point(size=26, filled=True, opacity=1, tooltip=_DATUM)
    return _finished(alt.LayerChart(layer=[marks, dots.encode(shape=_shape(keys))]), _LOW_HEIGHT)


def published_chart(methods: Sequence[str]) -> dict[str, object]:
    """What papers print, against the share of their own unpruned model: open marks, no curve."""
    keys = looks(methods, ())
    x = alt.X(
        "share:Q",
        title="% of the paper's unpruned model",
        scale=alt.Scale(zero=False),
    )
    marks = alt.Chart(alt.NamedData("published")).mark_point(
        size=80, filled=False, strokeWidth=2, opacity=1, tooltip=_DATUM
    )
    encoded = marks.encode(x=x, y=_accuracy("top1"), color=_colour(keys), shape=_shape(keys))
    return _finished(alt.LayerChart(layer=[encoded]), _LOW_HEIGHT)


def _front(x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Runs that no other beats, ringed and joined; drawn in ink, so not by colour alone."""
    front = alt.Chart(alt.NamedData("front")).encode(x=x, y=y)
    return [
        front.mark_line(
            interpolate="step-after", strokeDash=[1, 3], strokeWidth=2, stroke=alt.expr("ink")
        ),
        front.mark_point(size=230, filled=False, strokeWidth=1.5, stroke=alt.expr("ink")),
    ]


def _accuracy(field: str) -> alt.Y:
    return alt.Y(f"{field}:Q", title="Top-1 accuracy (%)", scale=alt.Scale(zero=False))


def _colour(keys: Sequence[Look]) -> alt.Color:
    colours = [look.colour or alt.expr("ink") for look in keys]
    return alt.Color("key:N", legend=None, scale=_scale(keys, colours))


def _shape(keys: Sequence[Look]) -> alt.Shape:
    return alt.Shape("key:N", legend=None, scale=_scale(keys, [look.shape for look in keys]))


def _scale(keys: Sequence[Look], values: Sequence[Any]) -> alt.Scale:
    return alt.Scale(domain=[look.key for look in keys], range=list(values))


def _finished(picture: alt.LayerChart, height: int, *more: alt.Parameter) -> dict[str, object]:
    """The definition for Vega-Lite, as wide as the page has room for."""
    sized = picture.add_params(_INK, *more).properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x")
    )
    found: Mapping[str, object] = sized.to_dict()
    return dict(found)
