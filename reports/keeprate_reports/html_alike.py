"""How alike runs are, as rows and heat maps of the HTML report."""

from __future__ import annotations

from typing import Final

from keeprate.analysis.alike import Alike, AlikePair
from keeprate_reports.html_charts import alike_chart
from keeprate_reports.html_packing import Row, packed

_MEASURES: Final = {"kept": "Kept by both", "grouping": "Merged alike", "scores": "Scores alike"}
"""The measures of `AlikePair` that have a heat map, with its title."""


def alike_part(found: Alike | None) -> list[dict[str, object]]:
    """Return the heat maps as the page's script draws them; measures of no pair have none."""
    if found is None:
        return []
    return [
        {"title": title, "rows": packed(rows), "chart": alike_chart(found.labels)}
        for measure, title in _MEASURES.items()
        if (rows := [row for pair in found.pairs for row in _cells(pair, measure)])
    ]


def _cells(pair: AlikePair, measure: str) -> list[Row]:
    """Return the two cells of a pair, none where it lacks the measure."""
    value = getattr(pair, measure)
    chance = pair.kept_by_chance if measure == "kept" else None
    ways = ((pair.first, pair.second), (pair.second, pair.first))
    return [
        {"one": one, "other": other, "value": value, "chance": chance}
        for one, other in ways
        if value is not None
    ]
