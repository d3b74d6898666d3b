"""A section that is a table is in every report; the one that ships has the best by each metric."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from keeprate.analysis import build
from keeprate.analysis.build import findings_of
from keeprate.analysis.run_table import FindingsTable, column
from keeprate.analysis.write import write_reports
from keeprate.plugins.registry import registry
from keeprate.results.store import Store
from results_factory import make_result, make_rows, make_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two methods: `sharp` is right more often, `near` is nearer to the unpruned model."""
    store = Store(tmp_path / "runs")
    for method, accuracy, shift in (("sharp", 0.9, 0.3), ("near", 0.8, 0.0), ("full", 0.95, 0.0)):
        run = make_run(method, 64 if method == "full" else 40, budget="65%")
        rows = make_rows(run, accuracy).with_columns(pl.col("kl") + shift)
        store.write(make_result(run, rows), rows)
    return store


def test_the_best_is_named_by_each_metric_in_its_direction(store: Store) -> None:
    (group,) = findings_of(store).groups
    (table,) = group.tables
    cells = {column.heading: column.texts for column in table.columns}
    assert cells["Budget"] == ("65%",)
    assert cells["Top-1 %"][0].startswith("sharp: ")
    assert cells["KL, nats"][0].startswith("near: 0.0")


def test_a_single_series_is_not_compared(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = make_run("tome", 40, budget="65%")
    store.write(make_result(run, make_rows(run)), make_rows(run))
    assert [group.tables for group in findings_of(store).groups] == [()]


def test_a_function_in_the_list_is_a_table_of_every_report(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def points(group: object) -> FindingsTable:
        return FindingsTable("My own", "About n.", (column("Mine", ["a"], lambda _: "B & C"),))

    monkeypatch.setattr(build, "TABLE_SECTIONS", (points,))
    reports = [name for name in registry().reports if name != "plot"]  # which has no tables
    written = write_reports(store.folder, reports, output=tmp_path / "out")
    assert written.failures == ()
    texts = {path.name: path.read_bytes().decode("utf-8", "replace") for path in written.files}
    for name in ("table.md", "tables.tex", "report.html", "findings.report.json"):
        assert "About n." in texts[name]
    assert "B &amp; C" in texts["table.md"]
    assert r"B \& C" in texts["tables.tex"]
    (table,) = json.loads(texts["findings.report.json"])["groups"][0]["tables"]
    assert table["columns"][0]["texts"] == ["B & C"]
