"""Write all figures of all runs, unrounded, for a spreadsheet or another program."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate.analysis.run_table import records
from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.model import Findings


class CsvTable(Report):
    """One row per run with all its figures, unrounded, in table.csv.

    The columns are those of `keeprate.analysis.run_table.records`; a figure that was not measured
    is left empty.
    """

    name: ClassVar[str] = "csv"

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write table.csv."""
        path, rows = folder / "table.csv", records(findings.groups)
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        return [path]
