"""Rank the images by how much methods disagree on them, from the rows of their runs."""

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

    The order is that of `ranked`; samples on which all runs are exactly equal are left out. Raises
    KeeprateError for fewer than two runs, rows that cannot be read, or no sample in common.
    """
    runs = {run_id: store.rows(run_id, COLUMNS) for run_id in dict.fromkeys(ids)}
    if len(runs) < 2:
        raise KeeprateError("It takes two runs or more to disagree: name their ids.")
    ranking = ranked(list(runs.values()))
    if not ranking.height:
        raise KeeprateError(f"The runs have no sample in common: {', '.join(runs)}.")
    return apart(ranking)["sample"].head(most).to_list()


def apart(found: pl.DataFrame) -> pl.DataFrame:
    """Return the samples in the result of `ranked` on which the runs are not all the same."""
    return found.filter((pl.col(DIFFERENT) > 0) | (pl.col(SPREAD) > 0))


def ranked(runs: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the samples that all runs have, those with the most disagreement first.

    `runs` have the columns "sample", "prediction" and "kl". The result has the columns "sample";
    "different", the share of pairs of runs whose predictions differ; "spread", the largest less the
    smallest KL divergence from the unpruned model, in nats. Samples are sorted by "different", then
    by "spread", then by their ids.
    """
    rows = pl.concat([run.select(COLUMNS) for run in runs])
    common = rows.filter(pl.len().over("sample") == len(runs))
    pairs = len(runs) * (len(runs) - 1) / 2
    votes = pl.col("prediction").value_counts().struct.field("count")
    # c runs with the same prediction are c(c - 1) / 2 equal pairs; the sum of all c is the number
    # of runs, so no pair has to be formed
    equal_pairs = (votes.cast(pl.Int64).pow(2).sum() - len(runs)) / 2
    # NaN would win the maximum; as null it is passed over
    kl = pl.col("kl").fill_nan(None)
    return (
        common.group_by("sample")
        .agg(
            (1 - equal_pairs / pairs).alias(DIFFERENT),
            (kl.max() - kl.min()).fill_nan(0.0).fill_null(0.0).alias(SPREAD),
        )
        .sort([DIFFERENT, SPREAD, "sample"], descending=[True, True, False])
    )
