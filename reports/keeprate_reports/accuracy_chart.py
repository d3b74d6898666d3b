"""The figure of accuracy against cost, one panel for each model and set of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from keeprate.analysis.model import GroupFindings, Point, PublishedPoint
from keeprate.analysis.summary import Summary
from keeprate.analysis.tables import unit_of
from keeprate_reports.chart_choice import OTHERS, Choice, chosen
from keeprate_reports.chart_looks import MUTED, SeriesStyle, looks
from keeprate_reports.chart_places import side_by_side
from keeprate_reports.cost_chart import (
    Manner,
    Sources,
    accuracy,
    accuracy_layers,
    cost_title,
    published_marks,
    share_axis,
)
from keeprate_reports.published_names import sides

_WIDTH, _HEIGHT, _LOW_HEIGHT = 560, 380, 220
_PANELS = 12
_MARGIN, _LABEL_WIDTH = 0.1, 380
_NAME: dict[str, Any] = {"fontSize": 11, "color": "#555555"}
_PUBLISHED = "Other training, other code, the papers' own count of costs."
_APART = "Points of nearly equal cost are drawn side by side."
Row = dict[str, object]


def chart(summary: Summary) -> alt.ConcatChart:
    """The plot; every figure file is a rendering of this one definition."""
    every, level = summary.findings.groups, summary.findings.options.level
    groups = _with_most_runs(every)
    choice = chosen(groups)
    keys = _looks(groups, choice)
    panels = [_panel(group, choice, keys, level) for group in groups]
    picture: alt.ConcatChart = (
        alt.concat(*panels, columns=2, **_heading(len(groups), len(every)))
        .resolve_scale(color="shared", shape="shared")
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#E6E6E6"
        )
        .configure_legend(
            labelFontSize=12, titleFontSize=13, labelLimit=_LABEL_WIDTH, symbolLimit=0
        )
        .configure_title(fontSize=15, subtitleFontSize=12, anchor="start", frame="group", offset=12)
    )
    return picture


def _with_most_runs(groups: Sequence[GroupFindings]) -> list[GroupFindings]:
    """As many groups as a figure has room for, in the order they came in."""
    ranked = sorted(range(len(groups)), key=lambda place: (-len(groups[place].points), place))
    return [groups[place] for place in sorted(ranked[:_PANELS])]


def _heading(drawn: int, there: int) -> dict[str, alt.Title]:
    """What is said above all panels: that some were left out, nothing otherwise."""
    if drawn == there:
        return {}
    what = f"{drawn} of {there} models and data sets, those with most runs"
    return {"title": alt.Title(what, subtitle="table.csv and report.html have all.")}


def _looks(groups: Sequence[GroupFindings], choice: Choice) -> list[SeriesStyle]:
    """One for each series, the same in all panels."""
    plain = {choice.key(each.unpruned) for each in groups if each.unpruned}
    found = looks(sorted(choice.series), sorted(plain))
    return found + ([SeriesStyle(OTHERS, MUTED, "circle", "", (1, 0))] if choice.strangers else [])


def _panel(
    group: GroupFindings, choice: Choice, keys: Sequence[SeriesStyle], level: float
) -> alt.LayerChart | alt.VConcatChart:
    unit, drawn = unit_of(group), choice.drawn(group)
    costs = [each.macs / unit.size for each in drawn]
    x = alt.X(
        "cost:Q",
        title=cost_title(group.samples, unit.name),
        scale=_scale(costs),
        axis=alt.Axis(tickCount=8),
    )
    low, high = _domain(costs)
    rows = _rows(drawn, choice, unit.size, (high - low) / _WIDTH)
    measured = alt.LayerChart(
        layer=accuracy_layers(x, keys, _sources(group, rows), _manner()),
        width=_WIDTH,
        height=_HEIGHT,
        title=alt.Title(group.title, subtitle=[*_notes(group, level), *_rest(group, choice)]),
    )
    printed = [each for each in group.published if not each.read_off]
    return alt.vconcat(measured, _published(printed)) if printed else measured


def _published(points: Sequence[PublishedPoint]) -> alt.LayerChart:
    """What papers print, on axes of its own: its ruler is not that of the runs."""
    room = [int(size / (1 + 2 * _MARGIN)) for size in (_WIDTH, _LOW_HEIGHT)]
    rows = [
        {"share": each.share_percent, "top1": each.top1_percent, "name": each.method, "side": side}
        for each, side in zip(points, sides(points, *room), strict=True)
    ]
    x = share_axis(_scale([each.share_percent for each in points]))
    y = accuracy("top1").scale(_scale([each.top1_percent for each in points]))
    title = alt.Title(f"{points[0].backbone} as published, not measured here", subtitle=_PUBLISHED)
    return alt.LayerChart(
        layer=[
            published_marks(_inline(rows), x).encode(y=y),
            _names(rows, "right").mark_text(align="left", dx=7, **_NAME).encode(x=x, y=y),
            _names(rows, "left").mark_text(align="right", dx=-7, **_NAME).encode(x=x, y=y),
        ],
        width=_WIDTH,
        height=_LOW_HEIGHT,
        title=title,
    )


def _names(rows: Sequence[Row], side: str) -> alt.Chart:
    """The names on one side of their marks, yet without a place."""
    return alt.Chart(_inline([row for row in rows if row["side"] == side])).encode(text="name:N")


def _manner() -> Manner:
    legend = alt.Legend(title="Method", symbolOpacity=1, symbolSize=90, symbolDash=[1, 0])
    return Manner(ink="black", paper="white", bars=alt.value(0.45), legend=legend)


def _sources(group: GroupFindings, rows: Sequence[Row]) -> Sources:
    front = [row for row in rows if row["front"]]
    level = [{"accuracy": group.unpruned.accuracy.value}] if group.unpruned else []
    return Sources(
        points=_inline(rows),
        lines=_inline([row for row in rows if row["line"]]),
        front=_inline(front if len(front) > 1 else []),
        unpruned=_inline(level),
    )


def _rows(points: Sequence[Point], choice: Choice, unit: float, pixel: float) -> list[Row]:
    """A row a run; `pixel` is what a pixel's width costs."""
    places = side_by_side([each.macs / unit / pixel for each in points])
    return [
        {
            "cost": place * pixel,
            "accuracy": each.accuracy.value,
            "low": each.accuracy.low,
            "high": each.accuracy.high,
            "key": choice.key(each),
            "line": choice.line(each),
            "front": each.on_front,
        }
        for each, place in zip(points, places, strict=True)
    ]


def _notes(group: GroupFindings, level: float) -> list[str]:
    unpruned = " Dashed: unpruned." if group.unpruned else ""
    bars = f"Bars: {100 * level:g} % Wilson intervals."
    return [f"{bars} Rings and dots: the Pareto front.{unpruned}", _APART]


def _rest(group: GroupFindings, choice: Choice) -> list[str]:
    """Which runs are not drawn, and where they are found."""
    drawn = {each.run_id for each in choice.drawn(group)}
    left = [each for each in group.points if each.run_id not in drawn]
    if not left:
        return []
    series = len({each.series for each in left})
    return [
        f"Not drawn: {len(left):,} runs of {series:,} series with fewer runs or less accuracy; "
        "table.csv and report.html have them."
    ]


def _inline(rows: Sequence[Mapping[str, object]]) -> alt.InlineData:
    return alt.InlineData(values=[dict(row) for row in rows])


def _scale(values: Sequence[float]) -> alt.Scale:
    return alt.Scale(domain=_domain(values), nice=False)


def _domain(costs: Sequence[float]) -> list[float]:
    low, high = min(costs), max(costs)
    margin = _MARGIN * (high - low or high or 1)
    return [low - margin, high + margin]
