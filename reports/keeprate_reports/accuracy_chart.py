"""The chart of accuracy against cost, one panel for each model and set of images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import altair as alt

from keeprate.findings import GroupFindings, PublishedPoint
from keeprate.report import macs_unit
from keeprate.summary import Group, Summary

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F")
"""Told apart with any colour vision. Source: Okabe and Ito 2008, with grey for yellow."""
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross")
"""As many as share no divisor with the colours, so that 42 series look different."""
_BLACK = "#000000"
_WIDTH, _HEIGHT = 560, 380
_MARGIN = 0.1
_STEP_PIXELS, _SPREAD_PIXELS = 9, 80
_NOTE = (
    "Bars: 95 % Wilson intervals. Rings: the Pareto front. "
    "Points of nearly equal cost are drawn side by side."
)
_PUBLISHED = "Grey: as published, on the papers' own ruler, without the patch embedding."
_GREY = "#8A8A8A"
_NAME_WIDE, _NAME_HIGH = 0.4, 0.06
"""Room that a name takes, as shares of what published points span."""


def chart(summary: Summary) -> alt.ConcatChart:
    """The plot; every figure file is a rendering of this one definition."""
    colour, shape = _scales(summary)
    found = {group.title: group for group in summary.findings.groups}
    panels = [_panel(group, found.get(group.title), colour, shape) for group in summary.groups]
    picture: alt.ConcatChart = (
        alt.concat(*panels, columns=2)
        .resolve_scale(color="shared", shape="shared")
        .configure_view(stroke=None)
        .configure_axis(
            labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#E6E6E6"
        )
        .configure_legend(labelFontSize=12, titleFontSize=13, labelLimit=0, symbolLimit=0)
        .configure_title(fontSize=15, subtitleFontSize=12, anchor="start", offset=12)
    )
    return picture


def _scales(summary: Summary) -> tuple[alt.Color, alt.Shape]:
    """One colour and shape per series, the same in all panels; the unpruned model is black."""
    names = {group.title: _series(group) for group in summary.groups}
    plain = _distinct(names[g.title][g.unpruned.id] for g in summary.groups if g.unpruned)
    others = [label for label in sorted(_distinct(_all(names))) if label not in plain]
    count = range(len(others))
    colours = [_BLACK] * len(plain) + [_COLOURS[i % len(_COLOURS)] for i in count]
    shapes = ["circle"] * len(plain) + [_SHAPES[i % len(_SHAPES)] for i in count]
    domain = [*plain, *others]
    legend = alt.Legend(title="Method", symbolOpacity=1, symbolSize=90)
    return (
        alt.Color("series:N", legend=legend, scale=alt.Scale(domain=domain, range=colours)),
        alt.Shape("series:N", legend=legend, scale=alt.Scale(domain=domain, range=shapes)),
    )


def _panel(
    group: Group, found: GroupFindings | None, colour: alt.Color, shape: alt.Shape
) -> alt.LayerChart:
    unit = macs_unit(group)
    published = [each for each in found.published if not each.read_off] if found else []
    costs = [line.macs_total for line in group.lines] + [each.macs for each in published]
    domain = _domain([cost / unit.size for cost in costs])
    title = f"Multiply-accumulates per image ({unit.name})"
    x = alt.X("cost:Q", title=title, scale=alt.Scale(domain=domain, nice=False))
    front = {point.run_id for point in found.points if point.on_front} if found else set()
    drawn = _points(group, unit.size, domain)
    points = _chart(drawn).encode(x=x, color=colour)
    layers = [
        points.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=_accuracy("low"), y2="high:Q"),
        points.mark_line(strokeWidth=2).encode(y=_accuracy("top1")),
        points.mark_point(size=70, filled=True, opacity=1).encode(y=_accuracy("top1"), shape=shape),
    ]
    best = [row for row in drawn if row["id"] in front]
    if len(best) > 1:
        ring = _chart(best).mark_point(size=190, filled=False, strokeWidth=1.2, color=_BLACK)
        layers.append(ring.encode(x=x, y=_accuracy("top1")))
    if published:
        layers += _published(published, x, unit.size)
    if group.unpruned:
        level = _chart([{"top1": group.unpruned.top1_percent}]).encode(y=_accuracy("top1"))
        layers.insert(0, level.mark_rule(strokeDash=[5, 4], color=_BLACK))
    return alt.LayerChart(
        layer=layers,
        width=_WIDTH,
        height=_HEIGHT,
        title=alt.Title(group.title, subtitle=[_NOTE, *([_PUBLISHED] if published else [])]),
    )


def _published(
    points: Sequence[PublishedPoint], x: alt.X, unit: float
) -> list[alt.Chart | alt.LayerChart]:
    """What papers print, in grey and named where there is room: not on the ruler of the runs."""
    names = _apart(points)
    rows = [
        {"cost": each.macs / unit, "top1": each.top1_percent, "name": name}
        for each, name in zip(points, names, strict=True)
    ]
    chart = _chart(rows).encode(x=x, y=_accuracy("top1"))
    return [
        chart.mark_point(shape="cross", size=45, color=_GREY, filled=True),
        chart.mark_text(align="right", dx=-6, fontSize=9, color=_GREY).encode(text="name:N"),
    ]


def _apart(points: Sequence[PublishedPoint]) -> list[str]:
    """Names of the points, empty where one named before, the more accurate first, is in the way."""
    ranges = [
        max(values) - min(values) or 1.0
        for values in ([p.macs for p in points], [p.top1_percent for p in points])
    ]
    named: list[PublishedPoint] = []
    for each in sorted(points, key=lambda point: -point.top1_percent):
        if not any(_in_the_way(each, other, ranges) for other in named):
            named.append(each)
    return [f"{each.method} (published)" if each in named else "" for each in points]


def _in_the_way(a: PublishedPoint, b: PublishedPoint, ranges: Sequence[float]) -> bool:
    width, height = ranges
    beside = abs(a.macs - b.macs) < _NAME_WIDE * width
    return beside and abs(a.top1_percent - b.top1_percent) < _NAME_HIGH * height


def _accuracy(field: str) -> alt.Y:
    return alt.Y(f"{field}:Q", title="Top-1 accuracy (%)", scale=alt.Scale(zero=False))


def _chart(rows: Sequence[Mapping[str, object]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=[dict(row) for row in rows]))


def _points(group: Group, unit: float, domain: Sequence[float]) -> list[dict[str, object]]:
    names = _series(group)
    pixel = (domain[1] - domain[0]) / _WIDTH
    pixels = {line.id: line.macs_total / unit / pixel for line in group.lines}
    lines = sorted(group.lines, key=lambda line: (pixels[line.id] // _STEP_PIXELS, names[line.id]))
    places = _side_by_side([pixels[line.id] for line in lines])
    return [
        {
            "id": line.id,
            "series": names[line.id],
            "cost": place * pixel,
            "top1": line.top1_percent,
            "low": line.top1_low_percent,
            "high": line.top1_high_percent,
        }
        for line, place in zip(lines, places, strict=True)
    ]


def _side_by_side(places: Sequence[float]) -> list[float]:
    """Places in pixels from left to right, those that crowd moved apart about their middle."""
    moved: list[float] = []
    for crowd in _crowds(places):
        step = min(_STEP_PIXELS, _SPREAD_PIXELS / len(crowd))
        apart = [crowd[0]]
        for place in crowd[1:]:
            apart.append(max(place, apart[-1] + step))
        back = (sum(apart) - sum(crowd)) / len(crowd)
        moved += [place - back for place in apart]
    return moved


def _crowds(places: Sequence[float]) -> list[list[float]]:
    """The places in groups, each of which needs more room than it has."""
    crowds: list[list[float]] = []
    for place in places:
        if crowds and place - crowds[-1][0] < _STEP_PIXELS * len(crowds[-1]):
            crowds[-1].append(place)
        else:
            crowds.append([place])
    return crowds


def _domain(costs: Sequence[float]) -> list[float]:
    low, high = min(costs), max(costs)
    margin = _MARGIN * (high - low or high or 1)
    return [low - margin, high + margin]


def _series(group: Group) -> dict[str, str]:
    """The name of each run's line in the legend, by run id."""
    names = {line.id: line.label for line in group.lines}
    if group.unpruned:
        names[group.unpruned.id] = f"{group.unpruned.label} (unpruned)"
    return names


def _all(names: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [label for series in names.values() for label in series.values()]


def _distinct(labels: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(labels))
