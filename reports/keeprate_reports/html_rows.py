"""Flat rows for the tables and charts of the HTML report; figures are arranged, not computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keeprate.analysis.metrics import MetricInfo
from keeprate.analysis.model import (
    Ablation,
    AreaDifference,
    CurveFinding,
    EqualCost,
    GroupFindings,
    Interval,
    PairedDifference,
    Point,
    PublishedPoint,
    SeriesAtCost,
    Setting,
)
from keeprate.analysis.provenance import FailedRun, Provenance
from keeprate.analysis.run_table import Unit

Row = dict[str, object]


def point_row(point: Point, group: GroupFindings, unit: Unit, key: str) -> Row:
    """Return a run of the main table and the charts; runs with the same `line` are joined."""
    return {
        "run_id": point.run_id,
        "label": point.label,
        "method": point.method,
        "parameters": point.parameters,
        "asked": point.asked,
        "key": key,
        "line": f"{point.series} / {point.seed}",
        "macs": point.macs / unit.size,
        "share": point.share_percent,
        **_interval(point.score),
        **_figures(point.metrics, group),
        "speed": point.images_per_second,
        "ratio": point.throughput_ratio,
        "kept": point.promise_kept,
        "front": point.on_front,
        "reduces": point.reduces,
        "tokens": point.tokens,
    }


def published_row(point: PublishedPoint, unit: Unit) -> Row:
    """Return the row of a result that a paper prints."""
    return {
        "method": point.method,
        "key": point.method,
        "setting": point.setting,
        "training": point.training,
        "backbone": point.backbone,
        "macs": point.macs and point.macs / unit.size,
        "own": point.own_macs and point.own_macs / unit.size,
        "share": point.share_percent,
        "top1": point.top1_percent,
        "speed": point.images_per_second,
        "read": "read off a figure" if point.read_off else "printed",
        "ruler": point.ruler,
        "source": point.source,
        "note": point.note,
    }


def rival_row(rival: SeriesAtCost, table: EqualCost, group: GroupFindings, unit: Unit) -> Row:
    """Return the row of a series at one budget."""
    return {
        "runs": rival.run_ids,
        "series": rival.series,
        "seeds": len(rival.seeds),
        "macs": rival.macs / unit.size,
        "share": rival.share_percent,
        **_interval(rival.score),
        **_figures(rival.metrics, group),
        "ratio": rival.throughput_ratio,
        **_verdict(rival.verdict),
        # "full": the same columns, against the unpruned model
        **{f"full_{name}": value for name, value in _verdict(rival.against_unpruned).items()},
        "standing": _standing(rival, table.rivals),
    }


def setting_row(setting: Setting, ablation: Ablation, group: GroupFindings, unit: Unit) -> Row:
    """Return the row of an ablated value; `winner` if it is distinguishably the best."""
    return {
        "runs": setting.run_ids,
        "value": setting.value,
        "macs": setting.macs / unit.size,
        **_interval(setting.score),
        **_figures(setting.metrics, group),
        **_verdict(setting.verdict),
        "winner": setting.value == ablation.winner and ablation.winner != "",
    }


def curve_row(curve: CurveFinding, unit: Unit) -> Row:
    """Return the row of a series over its costs, with its readings at the budgets."""
    return {
        "runs": curve.run_ids,
        "series": curve.series,
        "from": curve.low_macs / unit.size,
        "to": curve.high_macs / unit.size,
        "area": curve.area.value if curve.area else None,
        "low": curve.area.low if curve.area else None,
        "high": curve.area.high if curve.area else None,
        "over": _over(curve.area_macs, unit),
        "reason": curve.reason,
        "readings": [
            [
                reading.budget,
                *_ends(reading.score),
                reading.reason if reading.score is None else "",
            ]
            for reading in curve.readings
        ],
    }


def area_row(area: AreaDifference, unit: Unit) -> Row:
    """Return the row of two compared curves."""
    return {
        "series": area.series,
        "against": area.against,
        "over": _over(area.macs, unit),
        **_verdict(area.verdict),
    }


def provenance_row(origin: Provenance) -> Row:
    """Return the row of a run's provenance; every value is a text."""
    return {
        "run_id": origin.run_id,
        "Run": origin.label,
        "Method from": origin.method_origin,
        "Parameters": origin.parameters,
        "Schedule": origin.schedule,
        "Budget": origin.budget,
        "Seed": str(origin.seed),
        "Model": origin.model,
        "Weights": origin.weights,
        "Weights SHA-256": origin.weights_sha256,
        "Structure SHA-256": origin.structure_sha256,
        "Data": origin.data,
        "Samples SHA-256": origin.data_fingerprint,
        "Samples": f"{origin.images:,}",
        "Precision": origin.precision,
        "Device": origin.device,
        "Batch size": str(origin.batch_size),
        "Versions": _pairs(origin.versions),
        "Code SHA-256": _pairs(origin.sources),
        "Git revision": origin.git_revision or "",
        "Started": origin.started,
        "Seconds": f"{origin.seconds:.4g}",
        "Notes": "; ".join(origin.notes),
        "Command": origin.command,
    }


def failure_row(failure: FailedRun) -> Row:
    """Return the row of a run that failed."""
    return {
        "label": failure.label,
        "id": failure.run_id,
        "error": failure.error,
        "started": failure.started,
        "command": failure.command,
    }


def skipped_rows(group: GroupFindings) -> list[Row]:
    """Return the rows of the samples that a group left out."""
    return [{"sample": sample.sample, "reason": sample.reason} for sample in group.skipped]


def metric_name(metric: MetricInfo) -> str:
    """Return the name of a metric's figures in rows, which no other name is like."""
    return f"metric {metric.name}"


def _figures(figures: Mapping[str, float], group: GroupFindings) -> Row:
    # all rows of a group have the same names, also where a run lacks a metric
    return {metric_name(metric): figures.get(metric.name) for metric in group.metrics}


def _interval(interval: Interval) -> Row:
    return {"score": interval.value, "low": interval.low, "high": interval.high}


def _ends(interval: Interval | None) -> list[float | None]:
    return [interval.value, interval.low, interval.high] if interval else [None, None, None]


def _verdict(verdict: PairedDifference | None) -> Row:
    difference, low, high = _ends(verdict.difference if verdict else None)
    return {
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "adjusted": verdict.adjusted_p_value if verdict else None,
        "family": verdict.family if verdict else None,
        "clear": verdict.distinguishable if verdict else False,
        "verdict": verdict.text if verdict else "",
    }


def _standing(rival: SeriesAtCost, rivals: Sequence[SeriesAtCost]) -> str:
    """Name a series' standing: it is "best" only where all others are distinguishably behind."""
    tied = any(other.level_with_best and not other.best for other in rivals)
    if rival.best:
        return "first" if tied else "best"
    return "level" if rival.level_with_best else ""


def _over(macs: tuple[float, float] | None, unit: Unit) -> str:
    if macs is None:
        return ""
    low, high = (cost / unit.size for cost in macs)
    return f"{low:.3f} to {high:.3f} {unit.name}"


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in pairs)
