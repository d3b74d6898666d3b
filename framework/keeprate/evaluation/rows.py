"""From the rows of a pass to what a run gave: rows in the order of the samples, and means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import Tensor

from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..results.records import PARTIAL_ROW_SCHEMA, ROW_SCHEMA
from .metrics import PairedAccuracy, Predictions


@dataclass(frozen=True)
class RunRows:
    """What a run gave: per-image `rows` (columns of `ROW_SCHEMA`, in the order of the samples),
    means over all images (`overhead` in multiply-accumulates), and the time it took: of what it
    shared with other runs, an equal part.
    """

    rows: pl.DataFrame
    images: int
    top1: float
    top5: float
    agreement: float
    kl: float
    overhead: float
    seconds: float
    logits: Tensor | None = None
    """(N, K) float32 in the order of the samples, of runs that others are compared with."""


def outcome_of(
    rows: pl.DataFrame, samples: ImageSamples | TextSamples, logits: pl.DataFrame | None = None
) -> RunRows:
    """Put together the rows of one run (`PARTIAL_ROW_SCHEMA`): one per sample, in any order."""
    rows = rows.sort("place")
    known = samples.data.samples()
    ids = [known[samples.indices[position]].id for position in rows["place"]]
    table = rows.with_columns(pl.Series("sample", ids, dtype=pl.String))
    means = _means(rows)
    images = int(means.pop("images"))
    return RunRows(
        rows=table.select(ROW_SCHEMA.names()),
        images=images,
        **means,
        overhead=float(rows["overhead"].cast(pl.Float64).to_numpy().mean()),
        seconds=float(rows["seconds"].sum()),
        logits=None if logits is None else logits_of(logits),
    )


def logits_of(found: pl.DataFrame) -> Tensor:
    """Return logits (N, K) in the order of their places, from columns "place" and "logits"."""
    return torch.from_numpy(np.array(found.sort("place")["logits"].to_numpy(), dtype=np.float32))


def frame(run: str, columns: Mapping[str, Tensor], seconds: float) -> pl.DataFrame:
    """Make a table (`PARTIAL_ROW_SCHEMA`) of one run's columns, each (B,) or (B, several)."""
    series = [_series(name, column) for name, column in columns.items()]
    constant = (pl.lit(run).alias("run"), pl.lit(seconds).alias("seconds"))
    return pl.DataFrame(series).with_columns(*constant).select(PARTIAL_ROW_SCHEMA.names())


def logits_frame(position: Tensor, logits: Tensor) -> pl.DataFrame:
    """Make a table of places (B,) and logits (B, K)."""
    return pl.DataFrame([_series("place", position), pl.Series("logits", logits.numpy())])


def _series(name: str, column: Tensor) -> pl.Series:
    return pl.Series(name, column.numpy()).cast(PARTIAL_ROW_SCHEMA[name])


def _means(rows: pl.DataFrame) -> dict[str, float]:
    """Average over all rows at once, so that the means do not depend on how they were found."""
    columns = ("correct", "correct_top5", "agrees", "kl", "prediction", "confidence")
    found = {name: rows[name].to_torch() for name in columns}
    metric = PairedAccuracy(add_up=False)
    metric.update(Predictions(**found, top5=torch.empty(0)))
    return {name: float(value) for name, value in metric.compute().items()}
