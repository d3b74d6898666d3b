"""The chart of a metric against cost, defined once for figure files and for the web page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from keeprate_reports.chart_looks import MUTED, SeriesStyle, colour, dash, shape

PUBLISHED = "Top-1 accuracy (%)"
"""What papers print, whatever metric the runs are compared by."""
_TIMES = "M-1-1L1 1M-1 1L1-1"
"""The mark of published results, which no series has."""


@dataclass(frozen=True)
class Sources:
    """The data of each layer: rows in the chart itself, or names that a page fills with rows.

    Rows have the cost, `score`, `low` and `high`, the `key` of their style and the `line` that
    joins them; those of `unpruned` have the score alone. `others` are smaller models by `name`.
    """

    points: alt.Data
    lines: alt.Data
    front: alt.Data
    unpruned: alt.Data
    others: alt.Data | None = None


@dataclass(frozen=True)
class Manner:
    """What differs between a file and the page: colours of text and background, and additions.

    `bars` is the opacity of intervals, `metric` the title of the axis of scores. `mark` scales
    marks and lines, `y_domain` is None for the scores' own; `clip` is True where
    marks end at the axes.
    """

    metric: str
    ink: Any
    paper: Any
    bars: Any
    legend: alt.Legend | None = None
    tooltip: Any = alt.Undefined
    mark: float = 1.0
    y_domain: tuple[float, float] | None = None
    clip: Any = alt.Undefined


def score_layers(
    cost: alt.X, keys: Sequence[SeriesStyle], sources: Sources, manner: Manner
) -> list[alt.Chart]:
    """Return the layers, back to front: unpruned rule, intervals, curves, Pareto front, points."""
    y, mark = _y("score", manner), manner.mark
    colours = colour(keys, manner.ink, manner.legend)
    points = alt.Chart(sources.points).encode(x=cost, color=colours)
    marks = points.mark_point(
        size=75 * mark**2,
        filled=True,
        opacity=1,
        stroke=manner.paper,
        strokeWidth=0.8 * mark,
        tooltip=manner.tooltip,
        clip=manner.clip,
    )
    return [
        alt.Chart(sources.unpruned)
        .mark_rule(strokeDash=[5, 4], stroke=manner.ink, strokeWidth=mark, clip=manner.clip)
        .encode(y=y),
        points.mark_rule(strokeWidth=1.3 * mark, clip=manner.clip).encode(
            y=_y("low", manner), y2="high:Q", opacity=manner.bars
        ),
        alt.Chart(sources.lines)
        .mark_line(strokeWidth=1.6 * mark, clip=manner.clip)
        .encode(x=cost, y=y, color=colours, strokeDash=dash(keys), detail="line:N"),
        *_front(alt.Chart(sources.front).encode(x=cost, y=y), manner),
        marks.encode(y=y, shape=shape(keys, manner.legend)),
        *([] if sources.others is None else _others(alt.Chart(sources.others), cost, y, manner)),
    ]


def published_marks(
    source: alt.Data,
    x: alt.X,
    colours: alt.Color | None = None,
    shapes: alt.Shape | None = None,
    tooltip: Any = alt.Undefined,
) -> alt.Chart:
    """Return marks for what papers print, `top1` against `x`: open, and without curves.

    All marks are equal unless colours and shapes are given.
    """
    marks = alt.Chart(source).mark_point(
        size=80, filled=False, strokeWidth=1.6, opacity=1, tooltip=tooltip
    )
    positioned: alt.Chart = marks.encode(x=x, y=score_axis("top1", PUBLISHED))
    if colours and shapes:
        return positioned.encode(color=colours, shape=shapes)
    return positioned.encode(color=alt.value(MUTED), shape=alt.value(_TIMES))


def score_axis(field: str, title: str) -> alt.Y:
    """Return the axis of the scores in a field."""
    return alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=False))


def share_axis(scale: alt.Scale) -> alt.X:
    """Return the axis of published costs, as shares of the unpruned model on the same ruler."""
    return alt.X("share:Q", title="% of the unpruned model, on the paper's ruler", scale=scale)


def cost_title(samples: str, unit: str) -> str:
    """Return the title of the cost axis; `samples` says what was classified, such as "images"."""
    return f"Multiply-accumulates per {samples.removesuffix('s')} ({unit})"


def _others(others: alt.Chart, cost: alt.X, y: alt.Y, manner: Manner) -> list[alt.Chart]:
    """Return open diamonds for smaller models that are not reduced, with their names."""
    placed = others.encode(x=cost, y=y)
    marks = placed.mark_point(
        shape="diamond", size=130, filled=False, strokeWidth=1.8, opacity=1, stroke=manner.ink
    )
    names = placed.mark_text(dy=-12, fontSize=11, fill=manner.ink).encode(text="name:N")
    return [marks, names]


def _y(field: str, manner: Manner) -> alt.Y:
    axis = score_axis(field, manner.metric)
    return axis.scale(domain=list(manner.y_domain), nice=False) if manner.y_domain else axis


def _front(front: alt.Chart, manner: Manner) -> list[alt.Chart]:
    """Return rings and a line for the Pareto front, in the colour of text."""
    ink, mark = manner.ink, manner.mark
    # rings and dashes, as colour alone would not reach every reader
    return [
        front.mark_line(
            interpolate="step-after",
            strokeDash=[1, 3],
            strokeWidth=1.6 * mark,
            stroke=ink,
            opacity=0.8,
            clip=manner.clip,
        ),
        front.mark_point(
            size=210 * mark**2, filled=False, strokeWidth=1.4 * mark, stroke=ink, clip=manner.clip
        ),
    ]
