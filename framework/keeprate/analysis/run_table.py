"""Tables of texts, and that of a group's runs, which reports, commands and notebooks show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from .metrics import MetricInfo
    from .summary import Group, Line

Row = TypeVar("Row")


@dataclass(frozen=True)
class Unit:
    """A unit of multiply-accumulates, such as GMACs, which stands for `size` of them."""

    name: str
    size: float


@dataclass(frozen=True)
class Column:
    """A heading and a text for each line of a group; columns of `figures` are aligned right.

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


def macs_unit(group: Group) -> Unit:
    """Return the unit of a group's costs."""
    return unit_for(line.macs_total for line in group.lines)


def table(group: Group) -> tuple[Column, ...]:
    """Return the columns for the group's runs, the cheapest first; empty columns are left out."""
    unit, metric = macs_unit(group), group.metric
    against = ", ".join(filter(None, ["vs unpruned", metric.difference_unit])) + " [95%]"
    columns = (
        _column(group, "Method", lambda line: line.label, rank=0, figures=False),
        _column(group, "Budget or schedule", lambda line: line.asked or "-", figures=False),
        _column(group, unit.name, lambda line: f"{line.macs_total / unit.size:.3f}", rank=0),
        _column(group, "model + overhead", lambda line: _parts(line, unit), rank=8),
        _column(group, "% of unpruned", lambda line: f"{line.share_percent:.1f}", rank=4),
        _column(group, metric.title, lambda line: metric.text(line.score), rank=0),
        _column(group, against, lambda line: _difference(line, group)),
        _column(group, "p", lambda line: _p_value(line.p_value), rank=2),
        *(
            _column(group, other.title, _figure_of(other), rank=5 if other.in_brief else 7)
            for other in group.metrics
            if other.name != metric.name
        ),
        _column(group, "Speed-up", lambda line: _number(line.throughput_ratio, ".2f"), rank=3),
        _column(group, "Images/s", lambda line: _number(line.images_per_second, ".0f"), rank=9),
    )
    return tuple(column for column in columns if any(column.texts))


def _column(
    group: Group, heading: str, text: Callable[[Line], str], rank: int = 1, figures: bool = True
) -> Column:
    return Column(heading, tuple(text(line) for line in group.lines), figures, rank)


def _parts(line: Line, unit: Unit) -> str:
    return f"{line.macs_model / unit.size:.3f} + {line.macs_overhead / unit.size:.3f}"


def _difference(line: Line, group: Group) -> str:
    if line.difference is None:
        return "unpruned" if line == group.unpruned else ""
    digits, low, high = group.metric.digits, line.difference_low, line.difference_high
    return f"{line.difference:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _figure_of(metric: MetricInfo) -> Callable[[Line], str]:
    def text(line: Line) -> str:
        return metric.text(line.metrics[metric.name]) if metric.name in line.metrics else ""

    return text


def _p_value(p_value: float | None) -> str:
    if p_value is None:
        return ""
    # a p-value is never printed as 0.000, which none can be
    return "<0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def records(groups: Sequence[Group]) -> list[dict[str, object]]:
    """Return the lines of all groups for programs, unrounded, all with the same names.

    The score and its difference have names with metric and unit in them ("top1_percent",
    "difference_points"); every other metric that some run has is a figure more, None in other runs.
    """
    others = {other.name: other for group in groups for other in group.metrics}
    return [_record(line, group.metric, others) for group in groups for line in group.lines]


def _record(line: Line, metric: MetricInfo, others: Mapping[str, MetricInfo]) -> dict[str, object]:
    figures = vars(line) | {"metrics": None}
    renamed = {
        "score": metric.key(),
        "score_low": metric.key("low"),
        "score_high": metric.key("high"),
        "difference": metric.difference_key(),
        "difference_low": metric.difference_key("low"),
        "difference_high": metric.difference_key("high"),
    }
    record: dict[str, object] = {}
    for name, value in figures.items():
        if name == "metrics":
            beside = (other for other in others.values() if other.name != metric.name)
            record |= {other.key(): line.metrics.get(other.name) for other in beside}
        else:
            record[renamed.get(name, name)] = value
    return record
