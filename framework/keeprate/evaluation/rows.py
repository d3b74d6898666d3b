"""Makes the result of a run from its saved rows: sorted rows, and means over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl
import torch
from torch import Tensor

from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..results.row_schemas import PARTIAL_ROW_SCHEMA, ROW_SCHEMA
from .classification import figures, metrics


@dataclass(frozen=True)
class RunRows:
    """The result of a run: per-image `rows` in the order of the samples (`ROW_SCHEMA` and columns
    of metrics), the figures of `metrics` over all images by name, the mean `overhead` in
    multiply-accumulates, and `seconds`, which have an equal part of the time of each pass that the
    run shared with others.
    """

    rows: pl.DataFrame
    images: int
    metrics: Mapping[str, float]
    overhead: float
    seconds: float
    logits: Tensor | None = None
    """(N, K), at least float32, in the order of the samples, of runs that others go by."""


def outcome_of(
    rows: pl.DataFrame, samples: ImageSamples | TextSamples, logits: pl.DataFrame | None = None
) -> RunRows:
    """Make the result of one run from its rows (`PARTIAL_ROW_SCHEMA`), one for each sample."""
    rows = rows.sort("place")
    data_samples = samples.data.samples()
    ids = [data_samples[samples.indices[position]].id for position in rows["place"]]
    table = rows.with_columns(pl.Series("sample", ids, dtype=pl.String))
    chosen = metrics()
    own = [name for name in rows.columns if name not in {*PARTIAL_ROW_SCHEMA, *ROW_SCHEMA}]
    columns = {name: rows[name].to_torch() for name in ("label", "prediction", "confidence", *own)}
    return RunRows(
        rows=table.select(*ROW_SCHEMA.names(), *own),
        images=rows.height,
        metrics=figures(columns, chosen),
        overhead=float(rows["overhead"].cast(pl.Float64).to_numpy().mean()),
        seconds=float(rows["seconds"].sum()),
        logits=None if logits is None else logits_of(logits),
    )


def logits_of(found: pl.DataFrame) -> Tensor:
    """Return logits (N, K) in the order of "place", from columns "place" and "logits"."""
    # copied, because PyTorch warns of an array that it must not write to
    return torch.from_numpy(found.sort("place")["logits"].to_numpy().copy())


def frame(run: str, columns: Mapping[str, Tensor], seconds: float) -> pl.DataFrame:
    """Make a table of one run's columns, each (B,) or (B, several); see `PARTIAL_ROW_SCHEMA`."""
    series = [_series(name, column) for name, column in columns.items()]
    constant = (pl.lit(run).alias("run"), pl.lit(seconds).alias("seconds"))
    return pl.DataFrame(series).with_columns(*constant)


def logits_frame(position: Tensor, logits: Tensor) -> pl.DataFrame:
    """Make a table of positions (B,) and logits (B, K), in columns "place" and "logits"."""
    return pl.DataFrame([_series("place", position), pl.Series("logits", logits.numpy())])


def _series(name: str, column: Tensor) -> pl.Series:
    series = pl.Series(name, column.numpy())
    return series.cast(PARTIAL_ROW_SCHEMA[name]) if name in PARTIAL_ROW_SCHEMA else series
