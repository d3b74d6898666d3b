"""Write all figures of all runs, unrounded, for a spreadsheet or another program."""

from __future__ import annotations

import csv
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.summary import Summary


class CsvTable(Report):
    """One row per run with all its figures, unrounded, in table.csv.

    The columns are the fields of `keeprate.analysis.summary.Line`; a figure that was not measured
    is left empty.
    """

    name: ClassVar[str] = "csv"

    def write(self, summary: Summary, folder: Path) -> list[Path]:
        """Write table.csv."""
        from keeprate.analysis.summary import Line

        path = folder / "table.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.DictWriter(file, [field.name for field in fields(Line)], lineterminator="\n")
            rows.writeheader()
            rows.writerows(asdict(line) for line in summary.lines)
        return [path]
