"""Made-up results with seeded rows, for tests that need a store but no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from keeprate.results.measured import Macs, Measured, Throughput
from keeprate.results.records import BackboneInfo, DataInfo, Environment, Result, RunInfo, StageInfo
from keeprate.results.row_schemas import ROW_SCHEMA
from keeprate.results.store import Store
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin

METRICS = {"top1": "correct", "top5": "correct_top5", "agreement": "agrees", "kl": "kl"}
UNPRUNED_MACS = 43_250_000
BLOCKS = 12


def make_run(method: str = "tome", keep: int = 64, **changes: Any) -> RunInfo:
    """A run that leaves `keep` of 64 patch tokens from the fourth block on."""
    reduces = keep < 64
    description: dict[str, Any] = {
        "method": method,
        "method_origin": "keeprate 0.1.0",
        "sources": {"method": "ab" * 32},
        "parameters": {},
        "schedule": f"{keep}@3" if reduces else "",
        "budget": None,
        "stages": (StageInfo(block=3, keep=keep),) if reduces else (),
        "backbone": make_backbone(),
        "data": make_data(),
        "seed": 0,
        "precision": "float32",
        "empty_last_mlp": False,
        "reduces": reduces,
    }
    return RunInfo(**(description | changes))


def make_backbone(name: str = "digits_vit", weights_sha256: str = "5e" * 32) -> BackboneInfo:
    return BackboneInfo(
        name=name,
        cls="VisionTransformer",
        weights=WeightsOrigin(WeightsKind.SHIPPED, "digits"),
        weights_sha256=weights_sha256,
        structure_sha256="57" * 32,
        num_parameters=672_000,
        image_size=(32, 32),
    )


def make_data(name: str = "digits", images: int = 200, **changes: Any) -> DataInfo:
    description: dict[str, Any] = {
        "name": name,
        "parameters": {},
        "images": images,
        "fingerprint": "da" * 32,
        "transform": {"interpolation": "bicubic", "crop_pct": 1.0, "mean": [0.5, 0.5, 0.5]},
        "skipped": {},
    }
    return DataInfo(**(description | changes))


def make_rows(run: RunInfo, accuracy: float = 0.9, seed: int = 0) -> pl.DataFrame:
    """Rows of `run`; the same seed gives the same images their luck, so that runs are paired."""
    random = np.random.default_rng(seed)
    images = run.data.images
    labels = random.integers(0, 10, images)
    correct = random.random(images) < accuracy
    predictions = np.where(correct, labels, (labels + 1) % 10)
    tokens = _tokens(run)
    return pl.DataFrame(
        {
            "sample": [f"test/{index:04d}" for index in range(images)],
            "label": labels,
            "prediction": predictions,
            "correct": correct,
            "top5": [[int((first + step) % 10) for step in range(5)] for first in predictions],
            "correct_top5": correct,
            "confidence": random.random(images),
            "agrees": correct,
            "kl": random.random(images) / 10,
            "tokens": [tokens] * images,
            "macs": [_macs(run)] * images,
        },
        schema_overrides=ROW_SCHEMA,
    )


def make_result(run: RunInfo, rows: pl.DataFrame, throughput: Throughput | None = None) -> Result:
    total = float(_macs(run))
    overhead = 0.01 * total if run.reduces else 0.0
    measured = Measured(
        images=rows.height,
        metrics={name: float(rows[column].to_numpy().mean()) for name, column in METRICS.items()},
        macs=Macs(model=total - overhead, overhead=overhead, total=total, unpruned=UNPRUNED_MACS),
        tokens=tuple(float(count) for count in _tokens(run)),
        wall_seconds=1.5,
        throughput=throughput,
    )
    return Result(run=run, measured=measured, environment=make_environment())


def make_environment() -> Environment:
    return Environment(
        versions={"keeprate": "0.1.0", "torch": "2.15.0"},
        device="cpu",
        git_revision=None,
        started="2026-01-02T03:04:05+00:00",
        batch_size=64,
        workers=0,
    )


def make_throughput(ratio: float = 1.4, ratios: tuple[float, ...] = ()) -> Throughput:
    return Throughput(
        images_per_second=1000 * ratio,
        unpruned_images_per_second=1000.0,
        ratio=ratio,
        device="cpu",
        precision="float32",
        batch_size=64,
        rounds=5,
        ratios=ratios,
    )


def put(store: Store, run: RunInfo, accuracy: float = 0.9, seed: int = 0) -> Result:
    """Store a made-up result of `run`."""
    rows = make_rows(run, accuracy, seed)
    result = make_result(run, rows)
    store.write(result, rows)
    return result


def fill(folder: Path, keeps: Mapping[str, tuple[int, ...]] | None = None) -> Store:
    """A store with the unpruned run and, per method, one run for each number of tokens kept."""
    store = Store(folder)
    put(store, make_run("full"), accuracy=0.97)
    for method, counts in (keeps or {"tome": (50, 40), "random": (50, 40)}).items():
        for keep in counts:
            put(store, make_run(method, keep), accuracy=0.97 - (64 - keep) / 400)
    return store


def _tokens(run: RunInfo) -> list[int]:
    kept = run.stages[0].keep if run.stages else 64
    return [65] * 4 + [kept + 1] * (BLOCKS - 4)


def _macs(run: RunInfo) -> int:
    return UNPRUNED_MACS * sum(_tokens(run)) // (65 * BLOCKS)
