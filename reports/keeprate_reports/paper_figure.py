"""A figure for a paper: the chart of the report at the size and with the fonts of a column."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import altair as alt

from keeprate.analysis.figure import Figure
from keeprate.analysis.model import Findings
from keeprate.errors import KeeprateError
from keeprate_reports.accuracy_chart import chart, legend_labels
from keeprate_reports.chart_frame import Frame

_PNG_PPI: Final = 600
_INCH: Final = 72
_RATIO: Final = 0.62
"""The height of the axes, as a share of their width."""
_LETTER: Final = 0.55
"""The mean width of a letter, as a share of the font's size."""
_SYMBOL: Final = 24
"""Points that a symbol of the legend takes, with what is around it."""
_ENOUGH: Final = 0.05


def paper_figure(findings: Findings, figure: Figure) -> alt.ConcatChart:
    """Return the figure, exactly as wide as asked for.

    Raises KeeprateError where no run has a cost on the axis, and for a width without room.
    """
    frame = _frame(figure)
    longest = max(map(len, legend_labels(findings, frame)), default=1)
    fit = int(figure.width / (longest * _LETTER * frame.label_size + _SYMBOL))
    for columns in range(max(1, fit), 0, -1):
        picture = _fitted(findings, replace(frame, legend_columns=columns), figure)
        if picture is not None:
            return picture
    raise KeeprateError(f"No room for this figure in {figure.width / _INCH:.3g} in: widen it.")


def save(picture: alt.ConcatChart, path: Path) -> None:
    """Write a figure whose unit is a point, in its true size."""
    if path.suffix == ".png":
        picture.save(str(path), ppi=_PNG_PPI)
    elif path.suffix == ".svg":
        path.write_text(_in_points(_svg(picture)), encoding="utf-8")
    else:
        picture.save(str(path))


def _frame(figure: Figure) -> Frame:
    small = figure.font_size - 1
    return Frame(
        width=figure.width / figure.columns,
        mark=figure.font_size / 13,
        label_size=small,
        title_size=figure.font_size,
        columns=figure.columns,
        told=False,
        apart=False,
        title=figure.title,
        axis=figure.axis,
        log_x=figure.log_x,
        x_domain=figure.zoom.x,
        y_domain=figure.zoom.y,
        intervals=figure.intervals,
        front=figure.front,
    )


def _fitted(findings: Findings, frame: Frame, figure: Figure) -> alt.ConcatChart | None:
    """Return the figure at its width, None if the legend or the titles are wider than that."""
    for _ in range(3):
        height = figure.height or _RATIO * frame.width
        picture = chart(findings, replace(frame, height=height))
        excess = _width(_svg(picture)) - figure.width
        if abs(excess) < _ENOUGH:
            return picture
        # what is around the axes is as wide whatever their width
        across = min(figure.columns, max(1, len(findings.groups)))
        frame = replace(frame, width=frame.width - excess / across)
        if frame.width < figure.font_size:
            return None
    return None


def _svg(picture: alt.ConcatChart) -> str:
    # the converter takes long to import, and only figures need it
    from vl_convert import vegalite_to_svg

    # validation takes most of the time, so a test does it
    return str(vegalite_to_svg(picture.to_dict(validate=False)))


def _width(svg: str) -> float:
    found = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
    return float(found[1]) if found else 0.0


def _in_points(svg: str) -> str:
    """Say that lengths of the root are points: without a unit they would be pixels, 96 an inch."""
    return re.sub(r'(<svg[^>]* width="[\d.]+)(" height="[\d.]+)"', r'\1pt\2pt"', svg, count=1)
