"""The charts of the HTML report, without data: the page fills in the rows that pass its filters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import altair as alt

from keeprate_reports.chart_looks import SeriesStyle, colour, dash, looks, shape
from keeprate_reports.cost_chart import (
    Manner,
    Sources,
    published_marks,
    score_axis,
    score_layers,
    share_axis,
)

_HEIGHT, _LOW_HEIGHT = 400, 260
_INK, _PAPER = alt.param(name="ink", value="black"), alt.param(name="paper", value="white")
"""Colours of text and background; the page sets them for its light or dark mode."""
_BARS = alt.param(name="bars", value=True)
_DATUM = alt.TooltipContent(content="data")
_FREE = alt.Scale(zero=False, padding=16)


def score_chart(
    cost: str, title: str, metric: str, keys: Sequence[SeriesStyle], *, others: bool = False
) -> dict[str, object]:
    """Return the chart of scores against the column `cost`: intervals, curves, points, front.

    With `others` it has smaller models, too.
    """
    x = alt.X(f"{cost}:Q", title=title, scale=_FREE)
    names = ("points", "lines", "front", "unpruned", *(["others"] if others else []))
    sources = Sources(*(alt.NamedData(name) for name in names))
    bars = alt.condition(_BARS, alt.value(0.45), alt.value(0))
    manner = Manner(
        metric=metric, ink=alt.expr("ink"), paper=alt.expr("paper"), bars=bars, tooltip=_DATUM
    )
    focus_ring = (
        alt.Chart(alt.NamedData("focus"))
        .mark_point(size=420, filled=False, strokeWidth=3, stroke=manner.ink)
        .encode(x=x, y=score_axis("score", metric))
    )
    layers = [*score_layers(x, keys, sources, manner), focus_ring]
    return _definition(alt.LayerChart(layer=layers), _HEIGHT, _BARS)


def token_chart(keys: Sequence[SeriesStyle]) -> dict[str, object]:
    """Return the chart of mean tokens after each block, with a line for each run."""
    ink = alt.expr("ink")
    lines = alt.Chart(alt.NamedData("tokens")).encode(
        x=alt.X("block:Q", title="After block", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("tokens:Q", title="Mean tokens per sample"),
        color=colour(keys, ink),
        detail="run_id:N",
    )
    marks = lines.mark_line(interpolate="step-before", strokeWidth=1.6, opacity=0.8)
    dots = lines.mark_point(size=26, filled=True, opacity=1, tooltip=_DATUM)
    layers = [marks.encode(strokeDash=dash(keys)), dots.encode(shape=shape(keys))]
    return _definition(alt.LayerChart(layer=layers), _LOW_HEIGHT)


def published_chart(methods: Sequence[str]) -> dict[str, object]:
    """Return the chart of what papers print, against the share of their own unpruned model."""
    keys = looks(methods, ())
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=140)
    marks = published_marks(
        alt.NamedData("published"),
        share_axis(_FREE),
        colour(keys, alt.expr("ink"), legend),
        shape(keys, legend),
        _DATUM,
    )
    return _definition(alt.LayerChart(layer=[marks]), _LOW_HEIGHT)


def alike_chart(labels: Sequence[str]) -> dict[str, object]:
    """Return the heat map of one measure of how alike runs are: a cell for each pair, both ways."""
    axis = alt.Axis(labelLimit=200, labelAngle=-30, domain=False, ticks=False)
    cells = alt.Chart(alt.NamedData("alike")).encode(
        x=alt.X("other:N", sort=list(labels), title=None, axis=axis),
        y=alt.Y("one:N", sort=list(labels), title=None, axis=alt.Axis(labelLimit=200)),
    )
    # less than nothing in common is as pale as nothing, and its figure says so
    scale = alt.Scale(scheme="blues", domain=[0, 1], clamp=True)
    shaded = cells.mark_rect(tooltip=_DATUM).encode(
        color=alt.Color("value:Q", scale=scale, legend=None)
    )
    dark = alt.condition("datum.value > 0.6", alt.value("white"), alt.value("black"))
    figures = cells.mark_text(tooltip=_DATUM).encode(
        text=alt.Text("value:Q", format=".2f"), color=dark
    )
    return _definition(alt.LayerChart(layer=[shaded, figures]), 60 + 36 * len(labels))


def _definition(chart: alt.LayerChart, height: int, *more: alt.Parameter) -> dict[str, object]:
    """Return the definition for Vega-Lite; the chart is as wide as the page allows."""
    sized = chart.add_params(_INK, _PAPER, *more).properties(
        width="container", height=height, autosize=alt.AutoSizeParams(type="fit-x")
    )
    # validation takes most of the time, so a test does it
    definition: Mapping[str, object] = sized.to_dict(validate=False)
    return dict(definition)
