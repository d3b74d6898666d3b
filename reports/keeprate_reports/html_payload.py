"""The data for the HTML report's own script: rows, styles and charts of every group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from keeprate.analysis.metrics import MetricInfo
from keeprate.analysis.model import Findings, GroupFindings, Point
from keeprate.analysis.run_table import FindingsTable, Unit, unit_of
from keeprate.analysis.shown_series import ShownSeries
from keeprate_reports import html_rows as rows
from keeprate_reports.chart_looks import SERIES, SeriesStyle, shown_looks
from keeprate_reports.cost_chart import cost_title
from keeprate_reports.html_alike import alike_part
from keeprate_reports.html_charts import published_chart, score_chart, token_chart
from keeprate_reports.html_disagreement import disagreement_part
from keeprate_reports.html_packing import packed
from keeprate_reports.published_names import by_training


def payload(findings: Findings) -> dict[str, object]:
    """Return what the page's script reads; all of it is data, none of it HTML."""
    keys = _keys(findings)
    return {
        "level": findings.options.level,
        "groups": [_group(group, keys, findings.options.shown) for group in findings.groups],
        "failures": packed([rows.failure_row(failure) for failure in findings.failures]),
    }


def methods(findings: Findings) -> list[str]:
    """Return the methods of all runs, in alphabetical order."""
    return sorted({point.method for point in _points(findings)})


def _points(findings: Findings) -> Iterable[Point]:
    return (point for group in findings.groups for point in group.points)


def _keys(findings: Findings) -> Mapping[str, str]:
    """Return, by run id, the key a run is drawn as: its series, or its method if there are many."""
    points, shown = list(_points(findings)), findings.options.shown
    series = {point.series for point in points}
    return {
        point.run_id: point.series if len(series) <= SERIES else shown.label(point.method)
        for point in points
        if point.reduces
    } | {
        point.run_id: shown.unpruned(
            point.series if len(series) <= SERIES else shown.label(point.method), point.method
        )
        for point in points
        if not point.reduces
    }


def _styles(group: GroupFindings, keys: Mapping[str, str], shown: ShownSeries) -> list[SeriesStyle]:
    """Return the styles of a group's keys; a method has the same style in every group."""
    unpruned_keys = {keys[point.run_id] for point in group.points if not point.reduces}
    group_keys = {keys[point.run_id] for point in group.points}
    # styles go by the order of all keys, so they are chosen before the group's are picked out
    styles = shown_looks({*keys.values()} - unpruned_keys, sorted(unpruned_keys), shown)
    return [style for style in styles if style.key in group_keys]


def _group(group: GroupFindings, keys: Mapping[str, str], shown: ShownSeries) -> dict[str, object]:
    unit, styles = unit_of(group), _styles(group, keys, shown)
    return {
        "title": group.title,
        "model": group.model,
        "data": group.data,
        "samples": group.samples,
        "unit": unit.name,
        "metric": _metric(group.metric),
        "metrics": [_metric(m) for m in group.metrics if m.name != group.metric.name],
        "unpruned": group.unpruned.score.value if group.unpruned else None,
        "others": [
            {"name": other.model, "macs": other.macs / unit.size, "score": other.score.value}
            for other in group.others
        ],
        "looks": [vars(style) for style in styles],
        "charts": _charts(group, unit, styles),
        "points": packed(
            [rows.point_row(point, group, unit, keys[point.run_id]) for point in group.points]
        ),
        "published": packed([rows.published_row(point, unit) for point in group.published]),
        "equal_cost": _equal_cost(group, unit),
        "curves": packed([rows.curve_row(curve, unit) for curve in group.curves]),
        "areas": packed([rows.area_row(area, unit) for area in group.area_differences]),
        "ablations": _ablations(group, unit),
        "tables": [_table(table) for table in group.tables],
        "alike": alike_part(group.alike),
        "disagreement": disagreement_part(group.disagreement, group.samples),
        "skipped": packed(rows.skipped_rows(group)),
        "provenance": packed([rows.provenance_row(origin) for origin in group.provenance]),
    }


def _metric(metric: MetricInfo) -> dict[str, object]:
    """Return how the page shows a metric; `name` is that of the values in rows."""
    return {
        "name": rows.metric_name(metric),
        "title": metric.title,
        "heading": metric.heading,
        "unit": metric.unit,
        "difference": metric.difference_unit,
        "digits": metric.digits,
        "brief": metric.in_brief,
    }


def _equal_cost(group: GroupFindings, unit: Unit) -> list[dict[str, object]]:
    return [
        {
            "budget": table.budget,
            "macs": table.macs / unit.size,
            "reference": table.reference,
            "absent": table.absent,
            "rivals": packed([rows.rival_row(rival, table, group, unit) for rival in table.rivals]),
        }
        for table in group.equal_cost
    ]


def _ablations(group: GroupFindings, unit: Unit) -> list[dict[str, object]]:
    return [
        {
            "method": ablation.method,
            "factor": ablation.factor,
            "fixed": ablation.fixed,
            "budget": ablation.budget,
            "settings": packed(
                [rows.setting_row(setting, ablation, group, unit) for setting in ablation.settings]
            ),
        }
        for ablation in group.ablations
    ]


def _table(table: FindingsTable) -> dict[str, object]:
    """Return a table of texts as it is laid out in every report."""
    return {
        "title": table.title,
        "caption": table.caption,
        "columns": [[column.heading, column.figures] for column in table.columns],
        "rows": list(zip(*(column.texts for column in table.columns), strict=True)),
    }


def _charts(group: GroupFindings, unit: Unit, styles: list[SeriesStyle]) -> dict[str, object]:
    """Return the charts of a group; those without anything to draw are left out."""
    charts: dict[str, object] = {
        "cost": score_chart(
            "macs",
            cost_title(group.samples, unit.name),
            group.metric.axis,
            styles,
            others=bool(group.others),
        ),
        "tokens": token_chart(styles),
    }
    if any(point.images_per_second is not None for point in group.points):
        charts["speed"] = score_chart(
            "speed", f"{group.samples.capitalize()} per second", group.metric.axis, styles
        )
    if group.published:
        charts["published"] = {
            training: published_chart(sorted({point.method for point in points}))
            for training, points in by_training(group.published).items()
        }
    return charts
