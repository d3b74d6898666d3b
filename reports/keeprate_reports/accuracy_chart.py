"""Draw the figure of a metric against cost, one panel for each model and set of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import altair as alt

from keeprate.analysis.model import Findings, GroupFindings, Point, PublishedPoint
from keeprate.analysis.run_table import unit_of
from keeprate.errors import KeeprateError
from keeprate_reports.chart_choice import OTHERS, Choice, chosen
from keeprate_reports.chart_frame import Frame
from keeprate_reports.chart_looks import LOOKS, MUTED, SERIES, SeriesStyle, shown_looks
from keeprate_reports.chart_places import side_by_side
from keeprate_reports.cost_axis import MARGIN, cost_axis, cost_of, domain_of, scale_of
from keeprate_reports.cost_chart import (
    PUBLISHED,
    Manner,
    Sources,
    published_marks,
    score_axis,
    score_layers,
    share_axis,
)
from keeprate_reports.published_names import by_training, sides

_LOW_HEIGHT = 220
_PANELS = 12
_NAME_STYLE: dict[str, Any] = {"fontSize": 11, "color": "#555555"}
_PUBLISHED = "Other training, other code, the papers' own count of costs."
_SIDE_BY_SIDE = "Points of nearly equal cost are drawn side by side."
Row = dict[str, object]
REPORT: Final = Frame()


def chart(findings: Findings, frame: Frame = REPORT) -> alt.ConcatChart:
    """Return the plot in a frame; every figure file is a rendering of this one definition.

    Raises KeeprateError where no run has a cost on the axis of the frame.
    """
    all_groups, level = _with_costs(findings, frame), findings.options.level
    groups = _with_most_runs(all_groups) if frame.told else all_groups
    choice = chosen(groups, findings.options.shown, SERIES if frame.told else LOOKS)
    keys = _series_styles(groups, choice)
    several = len(groups) > 1
    panels = [
        _panel(group, choice, keys, level, replace(frame, several=several)) for group in groups
    ]
    heading = _heading(len(groups), len(all_groups)) if frame.told else _asked_title(frame)
    # one scale for all panels, so that a method looks the same in each of them
    picture: alt.ConcatChart = (
        alt.concat(*panels, columns=frame.columns, **heading)
        .resolve_scale(color="shared", shape="shared")
        .configure_view(stroke=None)
        .configure_axis(**frame.axis_style)
        .configure_legend(**frame.legend_style)
        .configure_title(**frame.title_style)
    )
    return picture if frame.told else picture.properties(padding=1, spacing=2 * frame.title_size)


def legend_labels(findings: Findings, frame: Frame) -> list[str]:
    """Return what the legend of a figure names; KeeprateError for more than can be drawn."""
    groups = _with_costs(findings, frame)
    choice = chosen(groups, findings.options.shown, LOOKS)
    series = {point.series for group in groups for point in group.points if point.reduces}
    if len(series) > LOOKS:
        raise KeeprateError(
            f"{len(series)} series cannot be told apart: name at most {LOOKS} with --method."
        )
    return [style.key for style in _series_styles(groups, choice)]


def _with_costs(findings: Findings, frame: Frame) -> Sequence[GroupFindings]:
    """Return the groups with the runs that have a cost on the axis; KeeprateError if none has."""
    if frame.axis == "macs":
        return findings.groups
    groups = [
        replace(group, points=tuple(p for p in group.points if p.images_per_second is not None))
        for group in findings.groups
    ]
    measured = [group for group in groups if group.points]
    if not measured:
        raise KeeprateError("No run here has a measured throughput: run with `--throughput`.")
    return measured


def _asked_title(frame: Frame) -> dict[str, alt.Title]:
    return {"title": alt.Title(frame.title)} if frame.title else {}


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
    styles = shown_looks(choice.series, sorted(plain), choice.shown)
    return styles + ([SeriesStyle(OTHERS, MUTED, "circle", "", (1, 0))] if choice.strangers else [])


def _panel(
    group: GroupFindings,
    choice: Choice,
    keys: Sequence[SeriesStyle],
    level: float,
    frame: Frame,
) -> alt.LayerChart | alt.VConcatChart:
    unit, drawn = unit_of(group), choice.drawn(group)
    places = {point.run_id: cost_of(point, unit, frame) for point in drawn}
    others = group.others if frame.axis == "macs" else ()
    costs = [*places.values(), *(other.macs / unit.size for other in others)]
    x = cost_axis(group, unit, costs, frame)
    low, high = domain_of(costs)
    pixel = (high - low) / frame.width if frame.apart else 0.0
    rows = _rows(drawn, choice, places, pixel)
    subtitle = [*_notes(group, level), *_undrawn_note(group, choice)]
    title = alt.Title(group.title, subtitle=subtitle) if frame.told else _panel_title(group, frame)
    measured = alt.LayerChart(
        layer=score_layers(x, keys, _sources(group, rows, unit.size, frame), _manner(group, frame)),
        width=frame.width,
        height=frame.height,
        title=title,
    )
    if not frame.told:
        return measured
    printed = [point for point in group.published if not point.read_off]
    panels = [_published(points, name) for name, points in by_training(printed).items()]
    return alt.vconcat(measured, *panels) if panels else measured


def _published(points: Sequence[PublishedPoint], training: str) -> alt.LayerChart:
    """Draw what papers print on axes of its own, as papers count costs differently."""
    # names are placed in pixels, so the margin of the scales on both sides is taken off
    room = [int(size / (1 + 2 * MARGIN)) for size in (REPORT.width, _LOW_HEIGHT)]
    rows: list[Row] = [
        {
            "share": point.share_percent,
            "top1": point.top1_percent,
            "name": point.method,
            "side": side,
        }
        for point, side in zip(points, sides(points, *room), strict=True)
    ]
    x = share_axis(scale_of([point.share_percent or 0.0 for point in points]))
    y = score_axis("top1", PUBLISHED).scale(scale_of([point.top1_percent for point in points]))
    title = alt.Title(
        f"{points[0].backbone} as published, {training}, not measured here", subtitle=_PUBLISHED
    )
    return alt.LayerChart(
        layer=[
            published_marks(_inline(rows), x).encode(y=y),
            _names(rows, "right").mark_text(align="left", dx=7, **_NAME_STYLE).encode(x=x, y=y),
            _names(rows, "left").mark_text(align="right", dx=-7, **_NAME_STYLE).encode(x=x, y=y),
        ],
        width=REPORT.width,
        height=_LOW_HEIGHT,
        title=title,
    )


def _names(rows: Sequence[Row], side: str) -> alt.Chart:
    """Return the names on one side of their marks, without their position."""
    return alt.Chart(_inline([row for row in rows if row["side"] == side])).encode(text="name:N")


def _manner(group: GroupFindings, frame: Frame) -> Manner:
    symbol: dict[str, Any] = {"symbolSize": 90 * frame.mark**2, "symbolOpacity": 1}
    below: dict[str, Any] = {"orient": "bottom", "symbolStrokeWidth": 0.8 * frame.mark}
    around: dict[str, Any] = {"title": "Method"} if frame.told else below | {"title": None}
    legend = alt.Legend(symbolDash=[1, 0], **symbol, **around)
    return Manner(
        metric=group.metric.axis,
        ink="black",
        paper="white",
        bars=alt.value(0.45 if frame.intervals else 0),
        legend=legend,
        mark=frame.mark,
        y_domain=frame.y_domain,
        clip=True if frame.x_domain or frame.y_domain else alt.Undefined,
    )


def _panel_title(group: GroupFindings, frame: Frame) -> alt.Title | alt.UndefinedType:
    return alt.Title(group.model) if frame.several else alt.Undefined


def _sources(group: GroupFindings, rows: Sequence[Row], unit: float, frame: Frame) -> Sources:
    front = [row for row in rows if row["front"] and frame.front]
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
        if group.others and frame.axis == "macs"
        else None,
    )


def _rows(
    points: Sequence[Point], choice: Choice, places: Mapping[str, float], pixel: float
) -> list[Row]:
    """Return a row for each run, at its cost in `places`, by run id.

    `pixel` is the cost that the width of one pixel stands for, 0 where points are not moved apart.
    """
    costs = [places[point.run_id] for point in points]
    if pixel:
        costs = [place * pixel for place in side_by_side([cost / pixel for cost in costs])]
    return [
        {
            "cost": cost,
            "score": point.score.value,
            "low": point.score.low,
            "high": point.score.high,
            "key": choice.key(point),
            "line": choice.line(point),
            "front": point.on_front,
        }
        for point, cost in zip(points, costs, strict=True)
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
