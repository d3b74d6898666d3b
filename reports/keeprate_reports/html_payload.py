"""Everything that the HTML report's own script is given: rows, looks and charts of every group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keeprate.analysis.model import Findings, GroupFindings, Point
from keeprate.analysis.run_table import Unit
from keeprate_reports import html_rows as rows
from keeprate_reports.chart_looks import SERIES, SeriesStyle, looks
from keeprate_reports.cost_chart import cost_title
from keeprate_reports.html_charts import accuracy_chart, published_chart, token_chart
from keeprate_reports.html_disagreement import disagreement_part
from keeprate_reports.html_packing import packed

_UNITS = (Unit("GMACs", 1e9), Unit("MMACs", 1e6), Unit("kMACs", 1e3))


def payload(findings: Findings) -> dict[str, object]:
    """What the page's script reads; all of it data, none of it HTML."""
    keys = _keys(findings)
    return {
        "level": findings.options.level,
        "groups": [_group(group, keys) for group in findings.groups],
        "failures": packed([rows.failure_row(each) for each in findings.failures]),
    }


def methods(findings: Findings) -> list[str]:
    """The methods of all runs, by name."""
    return sorted({point.method for point in _points(findings)})


def unit_of(group: GroupFindings) -> Unit:
    """The unit that gives the group's largest cost digits before the decimal point, or nearly."""
    largest = max([point.macs for point in group.points], default=0.0)
    return next((unit for unit in _UNITS if largest >= 0.2 * unit.size), _UNITS[-1])


def _points(findings: Findings) -> Iterable[Point]:
    return (point for group in findings.groups for point in group.points)


def _keys(findings: Findings) -> Mapping[str, str]:
    """What each run is drawn as, by its id: its series, or where these are many its method."""
    points = list(_points(findings))
    series = {point.series for point in points}
    return {
        point.run_id: (point.series if len(series) <= SERIES else point.method)
        + ("" if point.reduces else " (unpruned)")
        for point in points
    }


def _looks(group: GroupFindings, keys: Mapping[str, str]) -> list[SeriesStyle]:
    """Looks of all keys, so that a method looks the same in every group, cut to the group's."""
    plain = {keys[point.run_id] for point in group.points if not point.reduces}
    mine = {keys[point.run_id] for point in group.points}
    found = looks(sorted({*keys.values()} - plain), sorted(plain))
    return [look for look in found if look.key in mine]


def _group(group: GroupFindings, keys: Mapping[str, str]) -> dict[str, object]:
    unit = unit_of(group)
    return {
        "title": group.title,
        "model": group.model,
        "data": group.data,
        "samples": group.samples,
        "unit": unit.name,
        "unpruned": group.unpruned.accuracy.value if group.unpruned else None,
        "looks": [vars(look) for look in _looks(group, keys)],
        "charts": _charts(group, unit, _looks(group, keys)),
        "points": packed([rows.point_row(each, unit, keys[each.run_id]) for each in group.points]),
        "published": packed([rows.published_row(each, unit) for each in group.published]),
        "equal_cost": _equal_cost(group, unit),
        "curves": packed([rows.curve_row(each, unit) for each in group.curves]),
        "areas": packed([rows.area_row(each, unit) for each in group.area_differences]),
        "ablations": _ablations(group, unit),
        "disagreement": disagreement_part(group.disagreement, group.samples),
        "skipped": packed(rows.skipped_rows(group)),
        "provenance": packed([rows.provenance_row(each) for each in group.provenance]),
    }


def _equal_cost(group: GroupFindings, unit: Unit) -> list[dict[str, object]]:
    return [
        {
            "budget": table.budget,
            "macs": table.macs / unit.size,
            "reference": table.reference,
            "absent": table.absent,
            "rivals": packed([rows.rival_row(rival, table, unit) for rival in table.rivals]),
        }
        for table in group.equal_cost
    ]


def _ablations(group: GroupFindings, unit: Unit) -> list[dict[str, object]]:
    return [
        {
            "method": each.method,
            "factor": each.factor,
            "fixed": each.fixed,
            "budget": each.budget,
            "settings": packed([rows.setting_row(one, each, unit) for one in each.settings]),
        }
        for each in group.ablations
    ]


def _charts(group: GroupFindings, unit: Unit, found: list[SeriesStyle]) -> dict[str, object]:
    """The charts that there is something to draw in."""
    charts: dict[str, object] = {
        "cost": accuracy_chart("macs", cost_title(group.samples, unit.name), found),
        "tokens": token_chart(found),
    }
    if any(point.images_per_second is not None for point in group.points):
        charts["speed"] = accuracy_chart("speed", f"{group.samples.capitalize()} per second", found)
    if group.published:
        charts["published"] = published_chart(sorted({each.method for each in group.published}))
    return charts
