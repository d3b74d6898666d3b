"""Write every comparison in one long table, unrounded, for a spreadsheet or another program."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from keeprate.report import Report

if TYPE_CHECKING:
    from keeprate.analysis.metrics import MetricInfo
    from keeprate.analysis.model import Findings, GroupFindings, Interval, PairedDifference

COLUMNS: Final = (
    "version",
    "group",
    "kind",
    "where",
    "name",
    "against",
    "run_ids",
    "score",
    "score_low",
    "score_high",
    "difference",
    "difference_low",
    "difference_high",
    "p_value",
    "adjusted_p_value",
    "family",
    "distinguishable",
    "verdict",
)
"""What comparisons.csv has, in order; it changes only together with `version`.

Scores and differences are written under names that hold metric and unit: `top1_percent`.
"""

_Row = dict[str, object]


class ComparisonsCsv(Report):
    """One row per comparison at equal cost, curve reading, area and ablation, in comparisons.csv.

    `kind` says which of these a row is, `where` names the budget or the costs; a column that does
    not apply is empty.
    """

    name: ClassVar[str] = "comparisons"

    def write(self, findings: Findings, folder: Path) -> list[Path]:
        """Write comparisons.csv."""
        path = folder / "comparisons.csv"
        # a name may hold lone surrogates, which UTF-8 cannot write
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            groups = findings.groups
            names = _names(groups[0].metric) if groups else {}
            table = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
            table.writerow({column: names.get(column, column) for column in COLUMNS})
            for group in groups:
                for row in _rows(group):
                    table.writerow({"version": findings.version, **row})
        return [path]


def _rows(group: GroupFindings) -> Iterator[_Row]:
    for parts in (_equal_cost(group), _curves(group), _areas(group), _ablations(group)):
        yield from ({"group": group.title, **row} for row in parts)


def _names(metric: MetricInfo) -> dict[str, str]:
    """Return what the columns with scores and differences are named."""
    ends = ("", "low", "high")
    scores = {f"score_{end}".rstrip("_"): metric.key(end) for end in ends}
    return scores | {f"difference_{end}".rstrip("_"): metric.difference_key(end) for end in ends}


def _equal_cost(group: GroupFindings) -> Iterator[_Row]:
    for table in group.equal_cost:
        for rival in table.rivals:
            row: _Row = {"kind": "equal cost", "where": table.budget, "name": rival.series}
            row |= {"against": table.reference, "run_ids": " ".join(rival.run_ids)}
            yield row | _score(rival.score) | _verdict(rival.verdict)


def _curves(group: GroupFindings) -> Iterator[_Row]:
    for curve in group.curves:
        row: _Row = {"name": curve.series, "run_ids": " ".join(curve.run_ids)}
        for reading in curve.readings:
            yield row | {"kind": "curve", "where": reading.budget} | _score(reading.score)
        costs = "{:.0f} to {:.0f} MACs".format(*curve.area_macs) if curve.area_macs else ""
        yield row | {"kind": "mean over costs", "where": costs} | _score(curve.area)


def _areas(group: GroupFindings) -> Iterator[_Row]:
    for area in group.area_differences:
        costs = "{:.0f} to {:.0f} MACs".format(*area.macs)
        row: _Row = {"kind": "curves compared", "where": costs, "name": area.series}
        yield row | {"against": area.against} | _verdict(area.verdict)


def _ablations(group: GroupFindings) -> Iterator[_Row]:
    for table in group.ablations:
        where = " ".join(filter(None, [table.method, table.budget, table.fixed]))
        for setting in table.settings:
            row: _Row = {"kind": "ablation", "where": where}
            row["name"] = f"{table.factor}={setting.value}"
            row["against"] = f"{table.factor}={table.settings[0].value}"
            row["run_ids"] = " ".join(setting.run_ids)
            yield row | _score(setting.score) | _verdict(setting.verdict)


def _score(interval: Interval | None) -> _Row:
    if interval is None:
        return {}
    return {"score": interval.value, "score_low": interval.low, "score_high": interval.high}


def _verdict(verdict: PairedDifference | None) -> _Row:
    if verdict is None:
        return {}
    return {
        "difference": verdict.difference.value,
        "difference_low": verdict.difference.low,
        "difference_high": verdict.difference.high,
        "p_value": verdict.p_value,
        "adjusted_p_value": verdict.adjusted_p_value,
        "family": verdict.family,
        "distinguishable": verdict.distinguishable,
        "verdict": verdict.text,
    }
