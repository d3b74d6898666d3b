"""Accuracy against cost as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate.report import Report

if TYPE_CHECKING:
    import altair as alt

    from keeprate.analysis.figure import Figure
    from keeprate.analysis.model import Findings


_PNG_SCALE = 2
"""Pixels to a unit of the chart in each direction, for screens of high resolution."""


class AccuracyPlot(Report):
    """Top-1 accuracy against MACs, a line for each method, in accuracy.svg, .png and .pdf."""

    name: ClassVar[str] = "plot"
    kinds: ClassVar[tuple[str, ...]] = ("svg", "png", "pdf")
    """Renderings that are written, as endings of file names."""

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write accuracy.svg, accuracy.png and accuracy.pdf."""
        picture = self.chart(findings)
        paths = [folder / f"accuracy.{kind}" for kind in self.kinds]
        for path in paths:
            picture.save(str(path), scale_factor=_PNG_SCALE if path.suffix == ".png" else 1)
        return paths

    def chart(self, findings: Findings, figure: Figure | None = None) -> alt.ConcatChart:
        """Return the chart; every file is a rendering of it."""
        # altair takes long to import, and start-up needs the class only
        from keeprate_reports.accuracy_chart import chart
        from keeprate_reports.paper_figure import paper_figure

        return paper_figure(findings, figure) if figure else chart(findings)

    def write_figure(self, findings: Findings, figure: Figure, paths: Sequence[Path]) -> bool:
        """Write the figure as SVG, PDF or PNG, by the endings of the paths."""
        from keeprate_reports.paper_figure import paper_figure, save

        picture = paper_figure(findings, figure)
        for path in paths:
            save(picture, path)
        return True
