"""Which images methods disagree on most, from the rows that their runs left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from ...errors import KeeprateError
from ...results.store import Store

DIFFERENT: Final = "different"
SPREAD: Final = "spread"
COLUMNS: Final = ("sample", "prediction", "kl")


def disagreements(store: Store, ids: Sequence[str], most: int) -> list[str]:
    """Return the ids of the samples on which the runs `ids` disagree, at most `most`, worst first.

    As `ranked` puts them; samples on which all runs agree to the last digit are left out. Raises
    KeeprateError for fewer than two runs, rows that cannot be read, or no sample in common.
    """
    runs = {run_id: store.rows(run_id, COLUMNS) for run_id in dict.fromkeys(ids)}
    if len(runs) < 2:
        raise KeeprateError("It takes two runs or more to disagree: name their ids.")
    found = ranked(list(runs.values()))
    if not found.height:
        raise KeeprateError(f"The runs have no sample in common: {', '.join(runs)}.")
    return apart(found)["sample"].head(most).to_list()


def apart(found: pl.DataFrame) -> pl.DataFrame:
    """Return those of the samples that `ranked` found on which not all runs are the same."""
    return found.filter((pl.col(DIFFERENT) > 0) | (pl.col(SPREAD) > 0))


def ranked(runs: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the samples that all runs have, those on which they disagree most first.

    `runs` have the columns "sample", "prediction" and "kl". Columns of what is returned: "sample";
    "different", the share of pairs of runs whose predictions differ; "spread", the largest less the
    smallest KL divergence from the unpruned model, in nats. They are in this order of weight; equal
    samples are in the order of their ids.
    """
    rows = pl.concat([run.select(COLUMNS) for run in runs])
    common = rows.filter(pl.len().over("sample") == len(runs))
    pairs = len(runs) * (len(runs) - 1) / 2
    votes = pl.col("prediction").value_counts().struct.field("count")
    alike = (votes.cast(pl.Int64).pow(2).sum() - len(runs)) / 2
    kl = pl.col("kl").fill_nan(None)
    return (
        common.group_by("sample")
        .agg(
            (1 - alike / pairs).alias(DIFFERENT),
            (kl.max() - kl.min()).fill_nan(0.0).fill_null(0.0).alias(SPREAD),
        )
        .sort([DIFFERENT, SPREAD, "sample"], descending=[True, True, False])
    )
