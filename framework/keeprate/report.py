"""The interface of a report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .analysis.changes import Changes
    from .analysis.figure import Figure
    from .analysis.model import Findings


class Report(ABC):
    """Writes the findings on a store in one form.

    A report reads only the findings and computes no figures. It has a `name` and takes no
    arguments; the first sentence of its docstring is its description.
    """

    name: ClassVar[str]
    shows_places: ClassVar[bool] = False
    """Whether it gets texts with whole paths, as files for programs may; others get last parts."""

    @abstractmethod
    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write files into `folder`, which exists, and return their paths."""

    def chart(self, findings: Findings, figure: Figure | None = None) -> object | None:
        """Return the findings as a chart to show or change, None if the report has no chart.

        `keeprate.compare(...).plot()` returns it. It is a chart of altair, which notebooks draw.
        With a `figure` it is made as that says, for a paper.
        """
        return None

    def write_figure(self, findings: Findings, figure: Figure, paths: Sequence[Path]) -> bool:
        """Write a figure for a paper as files of these endings; False if the report has none."""
        return False

    def write_changes(self, changes: Changes, folder: Path) -> list[Path]:
        """Write the changes between two stores (`report --compare`); the default writes nothing."""
        return []
