"""Every comparison in one long table, unrounded, for a spreadsheet or another program."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.model import GroupFindings, Interval, PairedDifference
    from keeprate.analysis.summary import Summary

COLUMNS: Final = (
    "version",
    "group",
    "kind",
    "where",
    "name",
    "against",
    "run_ids",
    "top1_percent",
    "top1_low_percent",
    "top1_high_percent",
    "difference_points",
    "difference_low_points",
    "difference_high_points",
    "p_value",
    "adjusted_p_value",
    "family",
    "distinguishable",
    "verdict",
)
"""Of comparisons.csv, in this order; changed only together with `version`."""

_Row = dict[str, object]


class ComparisonsCsv(Report):
    """One row per comparison at equal cost, curve reading, area and ablation, in comparisons.csv.

    `kind` says which of them, `where` at which budget or over which costs; what does not apply is
    left empty.
    """

    name: ClassVar[str] = "comparisons"

    def write(self, summary: Summary, folder: Path) -> list[Path]:
        """Write comparisons.csv."""
        path = folder / "comparisons.csv"
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            table.writeheader()
            for group in summary.findings.groups:
                for row in _rows(group):
                    table.writerow({"version": summary.findings.version, **row})
        return [path]


def _rows(group: GroupFindings) -> Iterator[_Row]:
    for parts in (_equal_cost(group), _curves(group), _areas(group), _ablations(group)):
        yield from ({"group": group.title, **row} for row in parts)


def _equal_cost(group: GroupFindings) -> Iterator[_Row]:
    for table in group.equal_cost:
        for each in table.rivals:
            row: _Row = {"kind": "equal cost", "where": table.budget, "name": each.series}
            row |= {"against": table.reference, "run_ids": " ".join(each.run_ids)}
            yield row | _accuracy(each.accuracy) | _verdict(each.verdict)


def _curves(group: GroupFindings) -> Iterator[_Row]:
    for curve in group.curves:
        row: _Row = {"name": curve.series, "run_ids": " ".join(curve.run_ids)}
        for each in curve.readings:
            yield row | {"kind": "curve", "where": each.budget} | _accuracy(each.accuracy)
        over = "{:.0f} to {:.0f} MACs".format(*curve.area_macs) if curve.area_macs else ""
        yield row | {"kind": "mean over costs", "where": over} | _accuracy(curve.area)


def _areas(group: GroupFindings) -> Iterator[_Row]:
    for each in group.area_differences:
        over = "{:.0f} to {:.0f} MACs".format(*each.macs)
        row: _Row = {"kind": "curves compared", "where": over, "name": each.series}
        yield row | {"against": each.against} | _verdict(each.verdict)


def _ablations(group: GroupFindings) -> Iterator[_Row]:
    for table in group.ablations:
        where = " ".join(filter(None, [table.method, table.budget, table.fixed]))
        for each in table.settings:
            row: _Row = {"kind": "ablation", "where": where}
            row["name"] = f"{table.factor}={each.value}"
            row["against"] = f"{table.factor}={table.settings[0].value}"
            row["run_ids"] = " ".join(each.run_ids)
            yield row | _accuracy(each.accuracy) | _verdict(each.verdict)


def _accuracy(found: Interval | None) -> _Row:
    if found is None:
        return {}
    return {
        "top1_percent": found.value,
        "top1_low_percent": found.low,
        "top1_high_percent": found.high,
    }


def _verdict(found: PairedDifference | None) -> _Row:
    if found is None:
        return {}
    return {
        "difference_points": found.difference.value,
        "difference_low_points": found.difference.low,
        "difference_high_points": found.difference.high,
        "p_value": found.p_value,
        "adjusted_p_value": found.adjusted_p_value,
        "family": found.family,
        "distinguishable": found.distinguishable,
        "verdict": found.text,
    }
