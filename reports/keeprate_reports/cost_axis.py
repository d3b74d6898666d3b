"""The axis of costs: where a run stands on it, and from where to where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import altair as alt

from keeprate.analysis.model import GroupFindings, Point
from keeprate.analysis.run_table import Unit
from keeprate_reports.chart_frame import Frame
from keeprate_reports.cost_chart import cost_title

MARGIN: Final = 0.1
"""The part of the range of values that an axis has more, at each end."""


def cost_of(point: Point, unit: Unit, frame: Frame) -> float:
    """Return the cost of a run in the unit of the axis."""
    speed = point.images_per_second
    return point.macs / unit.size if frame.axis == "macs" or speed is None else speed


def cost_axis(group: GroupFindings, unit: Unit, costs: Sequence[float], frame: Frame) -> alt.X:
    """Return the axis on which all of `costs` have room, or the part that the frame asks for."""
    is_speed = frame.axis != "macs"
    title = f"{group.samples.capitalize()} per second" if is_speed else None
    scale = scale_of(costs)
    if frame.log_x:
        low, high = min(costs), max(costs)
        room = (high / low) ** MARGIN if high > low else 1 + MARGIN
        scale = alt.Scale(type="log", domain=[low / room, high * room], nice=False)
    if frame.x_domain:
        scale.domain = list(frame.x_domain)
    return alt.X(
        "cost:Q",
        title=title or cost_title(group.samples, unit.name),
        scale=scale,
        axis=alt.Axis(tickCount=8 if frame.told else 6),
    )


def scale_of(values: Sequence[float]) -> alt.Scale:
    """Return a scale with room for all values."""
    return alt.Scale(domain=domain_of(values), nice=False)


def domain_of(costs: Sequence[float]) -> list[float]:
    """Return the ends of an axis with room for all costs."""
    low, high = min(costs), max(costs)
    # equal values, and zero, still need a range of some width
    margin = MARGIN * (high - low or high or 1)
    return [low - margin, high + margin]
