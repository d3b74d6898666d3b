"""Makes the result of a run from its saved rows: sorted rows, and means over them."""

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
    """The result of a run: per-image `rows` (columns of `ROW_SCHEMA`, in the order of the samples),
    means over all images (`overhead` in multiply-accumulates), and `seconds`, which have an equal
    part of the time of each pass that the run shared with others.
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
    """Make the result of one run from its rows (`PARTIAL_ROW_SCHEMA`), one for each sample."""
    rows = rows.sort("place")
    data_samples = samples.data.samples()
    ids = [data_samples[samples.indices[position]].id for position in rows["place"]]
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
    """Return logits (N, K) in the order of "place", from columns "place" and "logits"."""
    # copied, because PyTorch warns of an array that it must not write to
    return torch.from_numpy(np.array(found.sort("place")["logits"].to_numpy(), dtype=np.float32))


def frame(run: str, columns: Mapping[str, Tensor], seconds: float) -> pl.DataFrame:
    """Make a table (`PARTIAL_ROW_SCHEMA`) of one run's columns, each (B,) or (B, several)."""
    series = [_series(name, column) for name, column in columns.items()]
    constant = (pl.lit(run).alias("run"), pl.lit(seconds).alias("seconds"))
    return pl.DataFrame(series).with_columns(*constant).select(PARTIAL_ROW_SCHEMA.names())


def logits_frame(position: Tensor, logits: Tensor) -> pl.DataFrame:
    """Make a table of positions (B,) and logits (B, K), in columns "place" and "logits"."""
    return pl.DataFrame([_series("place", position), pl.Series("logits", logits.numpy())])


def _series(name: str, column: Tensor) -> pl.Series:
    return pl.Series(name, column.numpy()).cast(PARTIAL_ROW_SCHEMA[name])


def _means(rows: pl.DataFrame) -> dict[str, float]:
    """Average over all rows at once, so that the means do not depend on passes or batches."""
    columns = ("correct", "correct_top5", "agrees", "kl", "prediction", "confidence")
    tensors = {name: rows[name].to_torch() for name in columns}
    metric = PairedAccuracy(add_up=False)  # every process has read the rows of all
    metric.update(Predictions(**tensors, top5=torch.empty(0)))
    return {name: float(value) for name, value in metric.compute().items()}
