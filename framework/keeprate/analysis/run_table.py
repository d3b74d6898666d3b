"""Tables of texts, and that of a group's runs, which reports, commands and notebooks show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .metrics import MetricInfo
    from .model import GroupPoints, Interval, Point, SeriesAtCost, Setting
    from .spread import CostSpread

Row = TypeVar("Row")


@dataclass(frozen=True)
class Unit:
    """A unit of multiply-accumulates, such as GMACs, which stands for `size` of them."""

    name: str
    size: float


@dataclass(frozen=True)
class Column:
    """A heading and a text for each row; columns of `figures` are aligned right.

    Where there is no room for all columns, those of the highest `rank` are dropped first.
    """

    heading: str
    texts: tuple[str, ...]
    figures: bool
    rank: int


@dataclass(frozen=True)
class FindingsTable:
    """A title, a sentence on what the table holds, its columns, and the rows to highlight.

    `marked` are the positions of the best rows and of those not distinguishable from the best.
    """

    title: str
    caption: str
    columns: tuple[Column, ...]
    marked: tuple[int, ...] = ()


def column(
    heading: str,
    rows: Sequence[Row],
    text: Callable[[Row], str],
    figures: bool = True,
    rank: int = 1,
) -> Column:
    """Make a column with the `text` of each row; see `Column`."""
    return Column(heading, tuple(text(row) for row in rows), figures, rank)


def filled(columns: Iterable[Column]) -> tuple[Column, ...]:
    """Return the columns in which at least one row has a text."""
    return tuple(column for column in columns if any(column.texts))


def unit_for(costs: Iterable[float]) -> Unit:
    """Return the unit in which the largest of the costs is at least 0.2, or the smallest unit."""
    largest = max(costs, default=0.0)
    units = [Unit("GMACs", 1e9), Unit("MMACs", 1e6), Unit("kMACs", 1e3)]
    # 0.2: a cost a little below one unit still reads better in it than in hundreds of the next
    return next((unit for unit in units if largest >= 0.2 * unit.size), units[-1])


def unit_of(group: GroupPoints) -> Unit:
    """Return the unit of a group's costs."""
    return unit_for(point.macs for point in group.points)


def table(group: GroupPoints, level: float) -> tuple[Column, ...]:
    """Return the columns for the group's runs, the cheapest first; empty columns are left out.

    `level` is that of the intervals (`ReportOptions.level`).
    """
    unit, metric, points = unit_of(group), group.metric, group.points
    in_unit = ", ".join(filter(None, ["vs unpruned", metric.difference_unit]))
    columns = (
        column("Method", points, lambda point: point.label, rank=0, figures=False),
        column("Budget or schedule", points, lambda point: point.asked or "-", figures=False),
        column(unit.name, points, lambda point: f"{point.macs / unit.size:.3f}", rank=0),
        column("model + overhead", points, lambda point: _parts(point, unit), rank=8),
        column("% of unpruned", points, lambda point: f"{point.share_percent:.1f}", rank=4),
        column(metric.title, points, lambda point: metric.text(point.score.value), rank=0),
        column(f"{in_unit} [{100 * level:g}%]", points, lambda point: _difference(point, group)),
        column("p", points, lambda point: p_text(point.p_value), rank=3),
        *(
            column(other.title, points, figure_of(other), rank=5 if other.in_brief else 7)
            for other in group.metrics
            if other.name != metric.name
        ),
        column("Speed-up", points, _speed_up, rank=2),
        column(
            "Of MACs' promise", points, lambda point: _number(point.promise_kept, ".3f"), rank=6
        ),
        column("Images/s", points, lambda point: _number(point.images_per_second, ".0f"), rank=9),
    )
    return filled(columns)


def _parts(point: Point, unit: Unit) -> str:
    return f"{point.macs_model / unit.size:.3f} + {point.macs_overhead / unit.size:.3f}"


def _difference(point: Point, group: GroupPoints) -> str:
    if point.difference is None:
        return "unpruned" if point == group.unpruned else ""
    return difference_text(point.difference, group.metric)


def _speed_up(point: Point) -> str:
    ends = point.throughput_interval
    interval = f" [{ends.low:.2f}, {ends.high:.2f}]" if ends else ""
    return _number(point.throughput_ratio, ".2f") + interval


def difference_text(difference: Interval, metric: MetricInfo, star: str = "") -> str:
    """Return a difference with its interval, all with their signs."""
    digits, low, high = metric.digits, difference.low, difference.high
    return f"{difference.value:+.{digits}f}{star} [{low:+.{digits}f}, {high:+.{digits}f}]"


def figure_of(metric: MetricInfo) -> Callable[[Point | SeriesAtCost | Setting], str]:
    """Return what makes a text of a row's figure of one metric, "" where it has none."""

    def text(row: Point | SeriesAtCost | Setting) -> str:
        return metric.text(row.metrics[metric.name]) if metric.name in row.metrics else ""

    return text


def p_text(p_value: float | None) -> str:
    """Return a p-value as text, "" for None."""
    if p_value is None:
        return ""
    # a p-value is never printed as 0.000, which none can be
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def records(groups: Sequence[GroupPoints]) -> list[dict[str, object]]:
    """Return the runs of all groups for programs, unrounded, all with the same names.

    The score and its difference have names with metric and unit in them ("top1_percent",
    "difference_points"); every other metric that some run has is a figure more, None in other runs.
    """
    others = {other.name: other for group in groups for other in group.metrics}
    return [_record(point, group, others) for group in groups for point in group.points]


def _record(
    point: Point, group: GroupPoints, others: Mapping[str, MetricInfo]
) -> dict[str, object]:
    metric = group.metric
    beside = (other for other in others.values() if other.name != metric.name)
    return {
        "id": point.run_id,
        "group": group.title,
        "label": point.label,
        "method": point.method,
        "parameters": point.parameters,
        "asked": point.asked,
        "budget": point.budget,
        "schedule": point.schedule,
        "seed": point.seed,
        "reduces": point.reduces,
        "images": point.images,
        "macs_model": point.macs_model,
        "macs_overhead": point.macs_overhead,
        "macs_total": point.macs,
        "share_percent": point.share_percent,
        **_percentiles(point.spread),
        **_ends(point.score, metric.key),
        **_ends(point.difference, metric.difference_key),
        "p_value": point.p_value,
        **{other.key(): point.metrics.get(other.name) for other in beside},
        "throughput_ratio": point.throughput_ratio,
        "images_per_second": point.images_per_second,
        "tokens": ", ".join(f"{count:.4g}" for count in point.tokens),
    }


def _percentiles(spread: CostSpread | None) -> dict[str, float | None]:
    names = ("p5_percent", "median_percent", "p95_percent")
    return {f"share_{name}": getattr(spread, name, None) for name in names}


def _ends(interval: Interval | None, key: Callable[[str], str]) -> dict[str, float | None]:
    value, low, high = (
        (interval.value, interval.low, interval.high) if interval else (None, None, None)
    )
    return {key(""): value, key("low"): low, key("high"): high}
