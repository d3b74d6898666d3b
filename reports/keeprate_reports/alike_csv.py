"""Write how alike the runs at one cost are, pair by pair and unrounded, for another program."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.model import Findings

COLUMNS: Final = (
    "version",
    "group",
    "images",
    "first",
    "second",
    "kept",
    "kept_by_chance",
    "grouping",
    "scores",
)
"""What alike.csv has, in order; it changes only together with `version`."""


class AlikeCsv(Report):
    """One row per pair of the runs that pictures were drawn of: how alike they are, in alike.csv.

    A measure that does not apply to a pair is empty.
    """

    name: ClassVar[str] = "alike"

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write alike.csv."""
        path = folder / "alike.csv"
        # a name may hold lone surrogates, which UTF-8 cannot write
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            table.writeheader()
            for group in findings.groups:
                found = group.alike
                for pair in found.pairs if found else ():
                    where = {"version": findings.version, "group": group.title}
                    images = {"images": found.images if found else 0}
                    table.writerow(where | images | vars(pair))
        return [path]
