"""How the cost of a run differs between images: a record, and how it is computed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from ..results.records import Result


@dataclass(frozen=True)
class CostSpread:
    """What images cost in per cent of the unpruned model: percentiles over the images of a run.

    Between two images a percentile lies on a straight line. `sample` says on which images the
    budget was solved, `sample_percent` what they cost on average: "" and None if it was not.
    """

    p5_percent: float
    median_percent: float
    p95_percent: float
    sample: str
    sample_percent: float | None


def cost_spread(result: Result, macs: pl.Series) -> CostSpread | None:
    """Return how `macs`, one for each image, spread; None where all images keep as many tokens.

    Texts cost more the longer they are, so that theirs are of interest after a calibration alone.
    """
    info, unpruned = result.run.calibration, result.measured.macs.unpruned
    is_text = result.run.backbone.samples == "texts"
    if info is None and (is_text or macs.n_unique() == 1):
        return None
    low, median, high = 100 * np.percentile(macs.to_numpy(), (5, 50, 95)) / unpruned
    on_sample = None if info is None or info.macs is None else 100 * info.macs / unpruned
    return CostSpread(
        float(low),
        float(median),
        float(high),
        sample="" if info is None else f"{info.images} of {_named(info.data, is_own=info.is_own)}",
        sample_percent=on_sample,
    )


def _named(data: str, *, is_own: bool) -> str:
    return f"{data}, not tested" if is_own else data
