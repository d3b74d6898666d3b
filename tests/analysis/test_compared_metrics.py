"""Runs can be compared by any metric that images have; every report then shows it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from scipy.stats import ttest_rel

from keeprate import KeeprateError
from keeprate.analysis.build import findings_of
from keeprate.analysis.model import GroupFindings, ReportOptions
from keeprate.cli import keeprate
from keeprate.results.store import Store
from results_factory import fill, make_result, make_rows, make_run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return fill(tmp_path / "runs")


@pytest.fixture
def by_kl(store: Store) -> GroupFindings:
    (group,) = findings_of(store, ReportOptions(metric="kl")).groups
    return group


def values(store: Store, run_id: str) -> np.ndarray:  # type: ignore[type-arg]
    return store.rows(run_id).sort("sample")["kl"].to_numpy()


def test_figures_are_those_of_the_rows_in_the_metric_s_unit(
    store: Store, by_kl: GroupFindings
) -> None:
    for point in by_kl.points:
        assert point.score.value == pytest.approx(values(store, point.run_id).mean())
        assert point.score.low < point.score.value < point.score.high < 1
        assert point.metrics["top1"] == pytest.approx(
            100 * store.rows(point.run_id)["correct"].to_numpy().mean()
        )


def test_differences_are_paired_on_images(store: Store, tmp_path: Path) -> None:
    run, plain = make_run("tome", 40), make_run("full")
    own = Store(tmp_path / "own")
    for each, seed in ((run, 1), (plain, 2)):
        rows = make_rows(each, seed=seed)
        own.write(make_result(each, rows), rows)
    (group,) = findings_of(own, ReportOptions(metric="kl")).groups
    point = next(point for point in group.points if point.reduces)
    ours, theirs = values(own, run.id), values(own, plain.id)
    assert point.difference is not None
    assert point.difference.value == pytest.approx((ours - theirs).mean())
    assert point.p_value == pytest.approx(ttest_rel(ours, theirs).pvalue, rel=0.02)


def test_lower_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for method, shift in (("near", 0.0), ("far", 0.2), ("full", 0.0)):
        run = make_run(method, 64 if method == "full" else 40, budget="65%")
        rows = make_rows(run).with_columns(pl.col("kl") + shift)
        store.write(make_result(run, rows), rows)
    (group,) = findings_of(store, ReportOptions(metric="kl")).groups
    first, second = group.equal_cost[0].rivals
    assert (first.series, second.series) == ("near", "far")
    assert first.best
    assert second.verdict is not None
    assert second.verdict.difference.value == pytest.approx(0.2)
    assert second.verdict.text.startswith("worse by 0.2")
    assert "is ahead with" in " ".join(group.overview)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ece", r"Metric 'ece' has no value for each image, so runs cannot be compared by it\."),
        ("kll", r"No metric 'kll'\. Did you mean 'kl'\?"),
    ],
)
def test_what_runs_cannot_be_compared_by_is_refused(name: str, said: str, store: Store) -> None:
    with pytest.raises(KeeprateError, match=said):
        findings_of(store, ReportOptions(metric=name))


def test_runs_without_the_metric_are_named_with_the_remedy(store: Store) -> None:
    found = findings_of(store, ReportOptions(metric="nll"))
    assert found.groups == ()
    assert all("has no metric 'nll': run it again with --force" in p for p in found.problems)


@pytest.mark.slow
def test_the_command_puts_another_metric_into_every_report(store: Store, tmp_path: Path) -> None:
    arguments = ["report", str(store.folder), "--metric", "kl", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(keeprate, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "KL, nats" in done.stdout
    out = tmp_path / "out"
    assert "KL (nats)" in (out / "accuracy.svg").read_text(encoding="utf-8")
    for name in ("report.html", "table.md", "tables.tex", "findings.report.json"):
        assert "nats" in (out / name).read_text(encoding="utf-8")
    for name in ("table.csv", "comparisons.csv"):
        with (out / name).open(newline="", encoding="utf-8") as file:
            assert {"kl_nats", "kl_low_nats", "difference_nats"} <= set(next(csv.reader(file)))


def test_scores_of_changed_code_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for method, source in (("tome", "aa"), ("random", "bb")):
        run = make_run(method, 40)
        result = make_result(run, make_rows(run))
        measured = result.measured.model_copy(update={"metric_sources": {"kl": source}})
        store.write(result.model_copy(update={"measured": measured}), make_rows(run))
    said = "the code of metric 'kl' changed between runs: run them again with --force"
    assert any(said in line for line in findings_of(store, ReportOptions(metric="kl")).problems)
    assert not any(said in line for line in findings_of(store).problems)
