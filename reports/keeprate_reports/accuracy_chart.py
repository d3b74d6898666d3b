"""Draw the figure of a metric against cost, one panel for each model and set of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from keeprate.analysis.model import Findings, GroupFindings, Point, PublishedPoint
from keeprate.analysis.run_table import unit_of
from keeprate_reports.chart_choice import OTHERS, Choice, chosen
from keeprate_reports.chart_looks import MUTED, SeriesStyle, looks
from keeprate_reports.chart_places import side_by_side
from keeprate_reports.cost_chart import (
    PUBLISHED,
    Manner,
    Sources,
    cost_title,
    published_marks,
    score_axis,
    score_layers,
    share_axis,
)
from keeprate_reports.published_names import by_training, sides

_WIDTH, _HEIGHT, _LOW_HEIGHT = 560, 380, 220
_PANELS = 12
_MARGIN, _LABEL_WIDTH = 0.1, 380
_NAME_STYLE: dict[str, Any] = {"fontSize": 11, "color": "#555555"}
_PUBLISHED = "Other training, other code, the papers' own count of costs."
_SIDE_BY_SIDE = "Points of nearly equal cost are drawn side by side."
Row = dict[str, object]


def chart(findings: Findings) -> alt.ConcatChart:
    """Return the plot; every figure file is a rendering of this one definition."""
    all_groups, level = findings.groups, findings.options.level
    groups = _with_most_runs(all_groups)
    choice = chosen(groups)
    keys = _series_styles(groups, choice)
    panels = [_panel(group, choice, keys, level) for group in groups]
    # one scale for all panels, so that a method looks the same in each of them
    picture: alt.ConcatChart = (
        alt.concat(*panels, columns=2, **_heading(len(groups), len(all_groups)))
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
    """Return as many groups as a figure has room for, in their given order."""
    ranked = sorted(
        range(len(groups)), key=lambda position: (-len(groups[position].points), position)
    )
    return [groups[position] for position in sorted(ranked[:_PANELS])]


def _heading(drawn: int, total: int) -> dict[str, alt.Title]:
    """Return the title above all panels if some are left out, else nothing."""
    if drawn == total:
        return {}
    title = f"{drawn} of {total} models and data sets, those with most runs"
    return {"title": alt.Title(title, subtitle="table.csv and report.html have all.")}


def _series_styles(groups: Sequence[GroupFindings], choice: Choice) -> list[SeriesStyle]:
    """Return a style for each series, the same in all panels."""
    plain = {choice.key(group.unpruned) for group in groups if group.unpruned}
    styles = looks(sorted(choice.series), sorted(plain))
    return styles + ([SeriesStyle(OTHERS, MUTED, "circle", "", (1, 0))] if choice.strangers else [])


def _panel(
    group: GroupFindings, choice: Choice, keys: Sequence[SeriesStyle], level: float
) -> alt.LayerChart | alt.VConcatChart:
    unit, drawn = unit_of(group), choice.drawn(group)
    macs = [*(point.macs for point in drawn), *(other.macs for other in group.others)]
    costs = [each / unit.size for each in macs]
    x = alt.X(
        "cost:Q",
        title=cost_title(group.samples, unit.name),
        scale=_scale(costs),
        axis=alt.Axis(tickCount=8),
    )
    low, high = _domain(costs)
    rows = _rows(drawn, choice, unit.size, (high - low) / _WIDTH)
    measured = alt.LayerChart(
        layer=score_layers(x, keys, _sources(group, rows, unit.size), _manner(group)),
        width=_WIDTH,
        height=_HEIGHT,
        title=alt.Title(
            group.title, subtitle=[*_notes(group, level), *_undrawn_note(group, choice)]
        ),
    )
    printed = [point for point in group.published if not point.read_off]
    panels = [_published(points, name) for name, points in by_training(printed).items()]
    return alt.vconcat(measured, *panels) if panels else measured


def _published(points: Sequence[PublishedPoint], training: str) -> alt.LayerChart:
    """Draw what papers print on axes of its own, as papers count costs differently."""
    # names are placed in pixels, so the margin of the scales on both sides is taken off
    room = [int(size / (1 + 2 * _MARGIN)) for size in (_WIDTH, _LOW_HEIGHT)]
    rows: list[Row] = [
        {
            "share": point.share_percent,
            "top1": point.top1_percent,
            "name": point.method,
            "side": side,
        }
        for point, side in zip(points, sides(points, *room), strict=True)
    ]
    x = share_axis(_scale([point.share_percent or 0.0 for point in points]))
    y = score_axis("top1", PUBLISHED).scale(_scale([point.top1_percent for point in points]))
    title = alt.Title(
        f"{points[0].backbone} as published, {training}, not measured here", subtitle=_PUBLISHED
    )
    return alt.LayerChart(
        layer=[
            published_marks(_inline(rows), x).encode(y=y),
            _names(rows, "right").mark_text(align="left", dx=7, **_NAME_STYLE).encode(x=x, y=y),
            _names(rows, "left").mark_text(align="right", dx=-7, **_NAME_STYLE).encode(x=x, y=y),
        ],
        width=_WIDTH,
        height=_LOW_HEIGHT,
        title=title,
    )


def _names(rows: Sequence[Row], side: str) -> alt.Chart:
    """Return the names on one side of their marks, without their position."""
    return alt.Chart(_inline([row for row in rows if row["side"] == side])).encode(text="name:N")


def _manner(group: GroupFindings) -> Manner:
    legend = alt.Legend(title="Method", symbolOpacity=1, symbolSize=90, symbolDash=[1, 0])
    return Manner(
        metric=group.metric.axis, ink="black", paper="white", bars=alt.value(0.45), legend=legend
    )


def _sources(group: GroupFindings, rows: Sequence[Row], unit: float) -> Sources:
    front = [row for row in rows if row["front"]]
    level = [{"score": group.unpruned.score.value}] if group.unpruned else []
    return Sources(
        points=_inline(rows),
        lines=_inline([row for row in rows if row["line"]]),
        # a front of a single run has no line to draw
        front=_inline(front if len(front) > 1 else []),
        unpruned=_inline(level),
        others=_inline(
            [
                {"cost": other.macs / unit, "score": other.score.value, "name": other.model}
                for other in group.others
            ]
        )
        if group.others
        else None,
    )


def _rows(points: Sequence[Point], choice: Choice, unit: float, pixel: float) -> list[Row]:
    """Return a row for each run; `pixel` is the cost that the width of one pixel stands for."""
    positions = side_by_side([point.macs / unit / pixel for point in points])
    return [
        {
            "cost": position * pixel,
            "score": point.score.value,
            "low": point.score.low,
            "high": point.score.high,
            "key": choice.key(point),
            "line": choice.line(point),
            "front": point.on_front,
        }
        for point, position in zip(points, positions, strict=True)
    ]


def _notes(group: GroupFindings, level: float) -> list[str]:
    unpruned = " Dashed: unpruned." if group.unpruned else ""
    bars = f"Bars: {100 * level:g} % intervals."
    smaller = " Diamonds: smaller models, unpruned." if group.others else ""
    return [f"{bars} Rings and dots: the Pareto front.{unpruned}{smaller}", _SIDE_BY_SIDE]


def _undrawn_note(group: GroupFindings, choice: Choice) -> list[str]:
    """Say which runs are not drawn, and which files have them."""
    drawn = {point.run_id for point in choice.drawn(group)}
    undrawn = [point for point in group.points if point.run_id not in drawn]
    if not undrawn:
        return []
    series = len({point.series for point in undrawn})
    return [
        f"Not drawn: {len(undrawn):,} runs of {series:,} series with fewer runs or worse scores; "
        "table.csv and report.html have them."
    ]


def _inline(rows: Sequence[Mapping[str, object]]) -> alt.InlineData:
    return alt.InlineData(values=[dict(row) for row in rows])


def _scale(values: Sequence[float]) -> alt.Scale:
    return alt.Scale(domain=_domain(values), nice=False)


def _domain(costs: Sequence[float]) -> list[float]:
    low, high = min(costs), max(costs)
    # equal values, and zero, still need a range of some width
    margin = _MARGIN * (high - low or high or 1)
    return [low - margin, high + margin]
