"""Reports show how the cost spreads over images, of runs in which it differs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.run_table import records
from keeprate.results.records import CalibrationInfo
from keeprate.results.store import Store
from results_factory import make_data, make_result, make_rows, make_run

UNPRUNED = 1000


def put_costs(store: Store, method: str, costs: list[int], sample_macs: int | None = None) -> str:
    """Store a run of eleven images with these costs; solved on images where theirs is given."""
    info = None
    if sample_macs is not None:
        info = CalibrationInfo(
            data="digits",
            parameters={},
            is_own=True,
            images=64,
            seed=0,
            sha256="ab",
            budget_macs=650,
            scale=0.4,
            macs=sample_macs,
        )
    run = make_run(method, budget="65%", calibration=info, data=make_data(images=11))
    rows = make_rows(run).with_columns(pl.Series("macs", costs, dtype=pl.Int64))
    plain = make_result(run, rows)
    macs = plain.measured.macs
    total = sum(costs) / len(costs)
    costed = macs.model_copy(update={"total": total, "model": total, "unpruned": UNPRUNED})
    measured = plain.measured.model_copy(update={"macs": costed})
    store.write(plain.model_copy(update={"measured": measured}), rows)
    return run.id


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    put_costs(store, "full", [UNPRUNED] * 11)
    put_costs(store, "tome", [650] * 11)
    put_costs(store, "adaptive", [600 + 10 * place for place in range(11)], sample_macs=649)
    return store


def test_percentiles_are_those_of_the_images_and_stand_beside_the_mean(store: Store) -> None:
    (group,) = findings_of(store).groups
    [table] = [table for table in group.tables if table.title == "Cost over images"]
    row = {column.heading: column.texts for column in table.columns}
    assert row == {
        "Method": ("adaptive",),
        "Budget or schedule": ("65%",),
        "kMACs": ("0.650",),
        "mean % of unpruned": ("65.0",),
        "5th percentile": ("60.5",),
        "median": ("65.0",),
        "95th percentile": ("69.5",),
        "solved on": ("64 of digits, not tested",),
        "mean % there": ("64.9",),
    }


def test_files_for_programs_have_the_percentiles_of_runs_that_have_some(store: Store) -> None:
    names = ("share_p5_percent", "share_median_percent", "share_p95_percent")
    found = {
        row["method"]: [row[name] for name in names] for row in records(findings_of(store).groups)
    }
    assert found["adaptive"] == pytest.approx([60.5, 65.0, 69.5])
    assert found["tome"] == found["full"] == [None, None, None]


def test_a_schedule_of_such_a_method_has_a_spread_without_a_calibration(store: Store) -> None:
    put_costs(store, "by-threshold", [500, *[600] * 9, 700])
    (group,) = findings_of(store).groups
    spreads = {point.method: point.spread for point in group.points}
    assert spreads["tome"] is None
    assert spreads["by-threshold"] is not None
    assert (spreads["by-threshold"].sample, spreads["by-threshold"].sample_percent) == ("", None)
