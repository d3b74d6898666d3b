"""How large the accuracy chart is and what is around its points: in a report, and in a paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Frame:
    """Sizes of a chart in pixels (of a figure for a paper: in points), and what it has.

    `mark` scales marks and lines. `columns` are those of panels, `legend_columns` those of the
    legend, which stands beside the panels in a report and below them in a figure. `told` says
    whether panels have titles, notes and published points; `apart`, whether points of nearly equal
    cost are drawn side by side; `several`, whether there is more than one panel. `x_domain` and
    `y_domain` are the ends of the axes where they are asked for.
    """

    width: float = 560
    height: float = 380
    mark: float = 1.0
    label_size: float = 12
    title_size: float = 13
    columns: int = 2
    legend_columns: int | None = None
    told: bool = True
    apart: bool = True
    title: str = ""
    axis: str = "macs"
    log_x: bool = False
    x_domain: tuple[float, float] | None = None
    y_domain: tuple[float, float] | None = None
    intervals: bool = True
    front: bool = True
    several: bool = False
    grid: str = "#E6E6E6"

    @property
    def axis_style(self) -> dict[str, Any]:
        """How axes are drawn."""
        return {
            "labelFontSize": self.label_size,
            "titleFontSize": self.title_size,
            "titleFontWeight": "normal",
            "gridColor": self.grid,
            **({} if self.told else _THIN),
        }

    @property
    def legend_style(self) -> dict[str, Any]:
        """How the legend is drawn."""
        style = {"labelFontSize": self.label_size, "titleFontSize": self.title_size}
        style |= {"labelLimit": 380, "symbolLimit": 0}
        if self.legend_columns:
            style |= {"columns": self.legend_columns, "rowPadding": 1, "columnPadding": 8}
            style |= {"offset": 4, "symbolOffset": 0}
        return style

    @property
    def title_style(self) -> dict[str, Any]:
        """How the titles of panels are drawn."""
        style: dict[str, Any] = {"anchor": "start", "frame": "group"}
        if self.told:
            return style | {"fontSize": 15, "subtitleFontSize": 12, "offset": 12}
        return style | {"fontSize": self.title_size, "fontWeight": "normal", "offset": 4}


_THIN = {
    **{"gridWidth": 0.5, "domainWidth": 0.6, "tickWidth": 0.6, "tickSize": 3},
    **{"labelPadding": 2, "titlePadding": 4, "domainColor": "black", "tickColor": "black"},
}
"""Axes of a figure of a few inches."""
