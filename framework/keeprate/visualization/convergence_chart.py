"""The figure of a study of convergence: divergences, and when the kept sets stop changing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import Any, Final

import altair as alt

from .convergence_table import HeadSummary, stays

FLOOR: Final = 1e-12
"""Smaller divergences (nats) are drawn as this one: a logarithmic axis has no 0."""
# two colours of Okabe and Ito, as in colours.py
_BLUE, _BLACK = "#0072B2", "#000000"
_COLUMNS: Final = 4
_WIDTH, _HEIGHT = 170, 130
_CELL_WIDTH, _CELL_HEIGHT = 44, 26


def chart(found: Sequence[HeadSummary], iterations: Sequence[int], title: str) -> alt.VConcatChart:
    """Return the figure; every file is a rendering of this one definition."""
    picture: alt.VConcatChart = (
        alt.vconcat(_divergences(found, iterations), _settled(found, iterations), spacing=30)
        .properties(title=alt.Title(title, anchor="start", fontSize=15, offset=12))
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#E6E6E6"
        )
        .configure_header(labelFontSize=13)
    )
    return picture


def _divergences(summaries: Sequence[HeadSummary], iterations: Sequence[int]) -> alt.FacetChart:
    """Return a panel for each block: a thin line for each head, a thick one for their mean."""
    steps = [f"{before}-{after}" for before, after in pairwise(iterations)]
    rows = _points(summaries, steps)
    line = alt.Chart().encode(
        x=alt.X("step:O", sort=steps, title="Iterations", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("kl:Q", title="KL divergence (nats)", scale=alt.Scale(type="log")).axis(format="e"),
        detail="head:N",
        tooltip=["block:O", "head:N", "step:O", alt.Tooltip("kl:Q", format=".2e")],
    )
    heads = line.mark_line(color=_BLUE, opacity=0.5, strokeWidth=1.5)
    mean = line.mark_line(color=_BLACK, strokeWidth=2.5, point=alt.OverlayMarkDef(color=_BLACK))
    layers = alt.layer(
        heads.transform_filter("!datum.mean"), mean.transform_filter("datum.mean"), data=_data(rows)
    ).properties(width=_WIDTH, height=_HEIGHT)
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    panels: alt.FacetChart = layers.facet(
        facet=alt.Facet("block:N", title=None, sort=blocks),
        columns=_COLUMNS,
        title=alt.Title(
            "From one distribution to the next",
            subtitle=[
                "Blue: each head, mean over the images. Black: mean over the heads.",
                f"What is below {FLOOR:g} is drawn there.",
            ],
        ),
    )
    return panels


def _points(summaries: Sequence[HeadSummary], steps: Sequence[str]) -> list[dict[str, Any]]:
    return [
        {
            "block": f"block {summary.block}",
            "head": summary.head,
            "step": step,
            "kl": max(divergence, FLOOR),
            "mean": summary.head == "all",
        }
        for summary in summaries
        for step, divergence in zip(steps, summary.divergences, strict=True)
    ]


def _settled(summaries: Sequence[HeadSummary], iterations: Sequence[int]) -> alt.LayerChart:
    """Return a table of colours: the iterations after which each head's kept set stays the same."""
    most = iterations[-1]
    rows = [
        {
            "block": summary.block,
            "head": summary.head,
            # one more than the greatest number stands for "not settled": JSON has no infinity
            "settled": most + 1 if summary.settled == inf else summary.settled,
            "text": stays(summary, iterations).partition(" ")[0],
        }
        for summary in summaries
    ]
    heads = list(dict.fromkeys(summary.head for summary in summaries))
    blocks = list(dict.fromkeys(summary.block for summary in summaries))
    cell = alt.Chart(_data(rows)).encode(
        x=alt.X("head:N", sort=heads, title="Head", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("block:O", sort=blocks, title="Block"),
        tooltip=["block:O", "head:N", "text:N"],
    )
    colour = alt.Color(
        "settled:Q",
        scale=alt.Scale(scheme="viridis", type="log", domain=[1, most + 1], reverse=True),
        legend=None,
    )
    # white on the dark half of the logarithmic colour scale, whose middle is the square root
    light = alt.condition(f"datum.settled > {most**0.5}", alt.value("white"), alt.value(_BLACK))
    table: alt.LayerChart = alt.LayerChart(
        layer=[
            cell.mark_rect().encode(color=colour),
            cell.mark_text(fontSize=12).encode(text="text:N", color=light),
        ],
        title=alt.Title(
            "Iterations after which the kept set stays the same",
            subtitle="Median over the images; all: the score of all heads together.",
            anchor="start",
        ),
    )
    table.width, table.height = alt.Step(_CELL_WIDTH), alt.Step(_CELL_HEIGHT)
    return table


def _data(rows: list[dict[str, Any]]) -> alt.InlineData:
    return alt.InlineData(values=rows)
