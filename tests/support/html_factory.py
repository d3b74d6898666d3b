"""Made-up findings of any size and with any names, for tests of how the HTML report shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keeprate.analysis.metrics import compared_metric, measured_metrics
from keeprate.analysis.model import (
    Ablation,
    CurveFinding,
    CurveReading,
    EqualCost,
    Findings,
    GroupFindings,
    Interval,
    PairedDifference,
    Point,
    PublishedPoint,
    ReportOptions,
    SeriesAtCost,
    Setting,
)
from keeprate.analysis.provenance import FailedRun, Provenance, SkippedSample

UNPRUNED = 1.258e9
BUDGETS = ("80%", "65%", "50%")
METHODS = ("random", "tome", "top-k")
TOP1 = compared_metric("top1")
METRICS = measured_metrics(["top1", "agreement", "kl"])


def make_findings(
    methods: Sequence[str] = METHODS,
    budgets: Sequence[str] = BUDGETS,
    groups: Sequence[tuple[str, str]] = (("deit_tiny", "imagenet"),),
    variants: int = 1,
    speeds: bool = True,
) -> Findings:
    """A group for each model and data set, in it a run for each method, variant and budget."""
    made = [make_group(model, data, methods, budgets, variants, speeds) for model, data in groups]
    return Findings(
        options=ReportOptions(),
        overview=("Made up for a test.",),
        methods=("Intervals are Wilson's.",),
        groups=tuple(made),
        failures=(make_failure(),),
        problems=("old-1.json: has format_version 0",),
    )


def make_group(
    model: str = "deit_tiny",
    data: str = "imagenet",
    methods: Sequence[str] = METHODS,
    budgets: Sequence[str] = BUDGETS,
    variants: int = 1,
    speeds: bool = True,
) -> GroupFindings:
    title = f"{model} on {data}"
    series = [(name, variant) for name in methods for variant in range(variants)]
    points = [
        make_point(title, name, variant, budget, rank, speeds)
        for rank, (name, variant) in enumerate(series)
        for budget in budgets
    ]
    full = make_unpruned(title, speeds)
    points = sorted([*points, full], key=lambda point: point.macs)
    return GroupFindings(
        title=title,
        overview=(f"{len(points)} runs of {model}.",),
        model=model,
        model_class="VisionTransformer",
        num_parameters=5_717_416,
        weights=f"{model}.safetensors",
        weights_sha256="5e" * 32,
        image_size=(224, 224),
        data=data,
        samples="images",
        images=2000,
        precision="float32",
        devices=("cpu",),
        throughputs=(),
        unpruned_macs=int(UNPRUNED),
        unpruned=full,
        points=tuple(points),
        published=(make_published(),),
        equal_cost=tuple(make_equal_cost(budget, points) for budget in budgets),
        curves=(make_curve(points),),
        area_differences=(),
        ablations=(make_ablation(points),),
        skipped=(SkippedSample("val/broken.jpg", "truncated"),),
        provenance=tuple(make_provenance(point, model, data) for point in points),
        commands=(f"keeprate compare --model {model} --data {data}",),
        metric=TOP1,
        metrics=METRICS,
    )


def make_point(
    title: str, method: str, variant: int, budget: str, rank: int, speeds: bool = True
) -> Point:
    """The better, the earlier its method; the first variant of the first method is the front."""
    share = float(budget.rstrip("%"))
    accuracy = 72 - (100 - share) / 6 * (1 + 0.21 * (rank % 40))
    series = f"{method} variant={variant}"
    return Point(
        run_id=f"{method[:20]}-{hash_of(title, method, variant, budget)}",
        label=series,
        series=series,
        method=method,
        parameters=f"variant={variant}",
        asked=budget,
        budget=budget,
        schedule="r",
        level=budget,
        seed=0,
        reduces=True,
        images=2000,
        macs=UNPRUNED * share / 100,
        macs_model=UNPRUNED * share / 100,
        macs_overhead=0.0,
        share_percent=share,
        score=Interval(accuracy, accuracy - 1.9876543, accuracy + 1.9123456),
        difference=Interval(accuracy - 72, accuracy - 73, accuracy - 71),
        p_value=0.5,
        metrics={"top1": accuracy, "agreement": 80.123456, "kl": 0.123456},
        tokens=tuple(197 * share / 100 + block / 7 for block in range(12, 0, -1)),
        images_per_second=90_000 / share if speeds else None,
        throughput_ratio=90 / share if speeds else None,
        on_front=rank == 0,
    )


def make_unpruned(title: str, speeds: bool = True) -> Point:
    point = make_point(title, "full", 0, "100%", 0, speeds)
    return replace(
        point,
        label="full",
        series="full",
        parameters="",
        asked="",
        budget="",
        schedule="",
        reduces=False,
        difference=None,
        p_value=None,
        on_front=True,
    )


def hash_of(*parts: object) -> str:
    """12 hex digits that are the same in every process."""
    import hashlib

    return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:12]


def make_verdict(points: float = -1.0, distinguishable: bool = True) -> PairedDifference:
    word = "worse by 1.0 points [0.2, 1.8]" if distinguishable else "not distinguishable"
    difference = Interval(points, points - 0.8, points + 0.8)
    return PairedDifference(difference, 0.004, 0.012, 3, distinguishable, word)


def make_equal_cost(budget: str, points: Sequence[Point]) -> EqualCost:
    there = sorted(
        (point for point in points if point.asked == budget), key=lambda each: -each.score.value
    )
    reference = there[0].series if there else ""
    rivals = tuple(_rival(point, point.series == reference) for point in there)
    macs = UNPRUNED * float(budget.rstrip("%")) / 100
    return EqualCost(budget, macs, reference, rivals, ("never-run",))


def _rival(point: Point, best: bool) -> SeriesAtCost:
    return SeriesAtCost(
        series=point.series,
        run_ids=(point.run_id,),
        seeds=(point.seed,),
        macs=point.macs,
        share_percent=point.share_percent,
        score=point.score,
        metrics=point.metrics,
        throughput_ratio=point.throughput_ratio,
        verdict=None if best else make_verdict(),
        against_unpruned=make_verdict(-3.2),
        best=best,
        level_with_best=best,
    )


def make_curve(points: Sequence[Point]) -> CurveFinding:
    first = points[0]
    readings = (
        CurveReading("65%", UNPRUNED * 0.65, Interval(70, 69, 71), ""),
        CurveReading("40%", UNPRUNED * 0.4, None, "below its costs"),
    )
    return CurveFinding(
        series=first.series,
        run_ids=(first.run_id,),
        low_macs=first.macs,
        high_macs=UNPRUNED,
        readings=readings,
        area=Interval(70.5, 69.5, 71.5),
        area_macs=(UNPRUNED / 2, UNPRUNED),
        reason="",
    )


def make_ablation(points: Sequence[Point], winner: str = "merge") -> Ablation:
    chosen = points[:2]
    settings = tuple(
        Setting(
            value=value,
            run_ids=(point.run_id,),
            macs=point.macs,
            score=point.score,
            metrics={"top1": point.score.value, "agreement": 80.0, "kl": 0.1},
            verdict=verdict,
        )
        for value, point, verdict in zip(
            ("merge", "drop"), chosen, (None, make_verdict()), strict=False
        )
    )
    return Ablation(points[0].method, "on_drop", "iterations=3", "50%", settings, winner)


def make_published() -> PublishedPoint:
    return PublishedPoint(
        backbone="deit_tiny",
        method="EViT",
        setting="keep=0.7",
        training="fine-tuned",
        macs=0.8e9,
        own_macs=797_000_000,
        share_percent=65.0,
        top1_percent=71.9,
        images_per_second=None,
        read_off=False,
        ruler="FLOPs as fvcore counts them",
        source="Liang et al. 2022, table 3",
        note="30 epochs",
    )


def make_failure(label: str = "tome r=99") -> FailedRun:
    return FailedRun(
        "tome-000000000000", label, "no tokens left", "2026-01-02", "keeprate compare --force"
    )


def make_provenance(point: Point, model: str, data: str) -> Provenance:
    return Provenance(
        run_id=point.run_id,
        label=point.label,
        method_origin="keeprate 0.1.0",
        parameters=point.parameters,
        schedule="keep=0.7@3,6,9",
        budget=point.asked,
        seed=point.seed,
        model=model,
        weights=f"{model}.safetensors",
        weights_sha256="5e" * 32,
        structure_sha256="57" * 32,
        data=data,
        data_fingerprint="da" * 32,
        images=2000,
        precision="float32",
        device="cpu",
        batch_size=64,
        versions=(("keeprate", "0.1.0"), ("torch", "2.15.0")),
        sources=(("method", "ab" * 32),),
        git_revision=None,
        started="2026-01-02T03:04:05+00:00",
        seconds=12.3456,
        notes=(),
        command=f"keeprate compare --model {model} --data {data} "
        f"--method '{point.label}' --budget {point.asked}",
    )
