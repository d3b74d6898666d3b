"""Stores of made-up results that need no model; reports are tried on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from ..results.measured import Macs, Measured
from ..results.records import BackboneInfo, DataInfo, Environment, Result, RunInfo, StageInfo
from ..results.row_schemas import ROW_SCHEMA
from ..results.store import Store
from ..results.weights_origin import WeightsKind, WeightsOrigin

HOSTILE = "../../up & <script>alert('x')</script> |`*_{%s}\\ \"$1\" [a](b)\n# no heading é"
"""A name that breaks any code that treats it as more than text."""
# each part for one kind of code: paths, HTML, Markdown, LaTeX, format strings, shells, line ends

PATCHES, BLOCKS, IMAGES = 64, 12, 40
METRICS = {"top1": "correct", "top5": "correct_top5", "agreement": "agrees", "kl": "kl"}
"""The metrics of the runs, and the columns of their values."""
UNPRUNED_MACS = 43_250_000


def fill(
    folder: Path, keeps: tuple[int, ...], *, name: str = "made-up", model: str = "tiny"
) -> Store:
    """Return a new store with a run for each number of kept patch tokens, of `PATCHES`.

    `name` is the method's name, `model` the model's. A run that keeps all tokens is that of the
    unpruned model.
    """
    store = Store(folder)
    for keep in keeps:
        run = _run(keep, name, model)
        rows = _rows(run, keep)
        store.write(_result(run, keep, rows), rows)
    return store


def _run(keep: int, name: str, model: str) -> RunInfo:
    reduces = keep < PATCHES
    return RunInfo(
        method=name if reduces else "unpruned",
        method_origin="keeprate",
        sources={"method": "ab" * 32},
        parameters={"note": name} if reduces else {},
        schedule=f"{keep}@3" if reduces else "",
        budget=None,
        stages=(StageInfo(block=3, keep=keep),) if reduces else (),
        backbone=BackboneInfo(
            name=model,
            cls="VisionTransformer",
            weights=WeightsOrigin(WeightsKind.RANDOM),
            weights_sha256="5e" * 32,
            structure_sha256="57" * 32,
            num_parameters=672_000,
            image_size=(32, 32),
        ),
        data=DataInfo(
            name=model,
            parameters={},
            images=IMAGES,
            fingerprint="da" * 32,
            transform={"interpolation": "bicubic", "crop_pct": 1.0},
            skipped={},
        ),
        seed=0,
        precision="float32",
        empty_last_mlp=False,
        reduces=reduces,
    )


def _rows(run: RunInfo, keep: int) -> pl.DataFrame:
    # one seed for all runs: they then differ on few samples, as runs of one data set do
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 10, IMAGES)
    # accuracy falls with the number of removed tokens, so that curves have a slope
    correct = generator.random(IMAGES) < 0.97 - (PATCHES - keep) / 400
    predictions = np.where(correct, labels, (labels + 1) % 10)
    return pl.DataFrame(
        {
            "sample": [f"test/{index:04d}" for index in range(IMAGES)],
            "label": labels,
            "prediction": predictions,
            "correct": correct,
            "top5": [[int((first + step) % 10) for step in range(5)] for first in predictions],
            "correct_top5": correct,
            "confidence": generator.random(IMAGES),
            "agrees": correct,
            "kl": generator.random(IMAGES) / 10,
            "tokens": [_tokens(keep)] * IMAGES,
            "macs": [_macs(keep)] * IMAGES,
        },
        schema_overrides=ROW_SCHEMA,
    )


def _result(run: RunInfo, keep: int, rows: pl.DataFrame) -> Result:
    total = float(_macs(keep))
    overhead = 0.01 * total if run.reduces else 0.0
    measured = Measured(
        images=IMAGES,
        metrics={name: float(rows[column].to_numpy().mean()) for name, column in METRICS.items()},
        macs=Macs(model=total - overhead, overhead=overhead, total=total, unpruned=UNPRUNED_MACS),
        tokens=tuple(float(count) for count in _tokens(keep)),
        wall_seconds=1.5,
        throughput=None,
    )
    environment = Environment(
        versions={"keeprate": "0"},
        device="cpu",
        git_revision=None,
        started="2026-01-02T03:04:05+00:00",
        batch_size=64,
        workers=0,
    )
    return Result(run=run, measured=measured, environment=environment)


def _tokens(keep: int) -> list[int]:
    return [PATCHES + 1] * 4 + [keep + 1] * (BLOCKS - 4)


def _macs(keep: int) -> int:
    return UNPRUNED_MACS * sum(_tokens(keep)) // ((PATCHES + 1) * BLOCKS)
