"""Accuracy against cost as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.summary import Summary

_PNG_SCALE = 2


class AccuracyPlot(Report):
    """Top-1 accuracy against MACs, a line for each method, in accuracy.svg and accuracy.png."""

    name: ClassVar[str] = "plot"

    def write(self, summary: Summary, folder: Path) -> list[Path]:
        """Write accuracy.svg and accuracy.png."""
        from keeprate_reports.accuracy_chart import chart

        picture = chart(summary)
        paths = [folder / "accuracy.svg", folder / "accuracy.png"]
        for path in paths:
            picture.save(str(path), scale_factor=_PNG_SCALE if path.suffix == ".png" else 1)
        return paths
