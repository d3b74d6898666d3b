"""The table that `keeprate.compare` returns: its frame, rows, chart, reports and looks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
import pytest

import keeprate
from api_factory import compare
from keeprate import ComparisonTable, KeeprateError, Report
from keeprate.analysis.build import findings
from keeprate.analysis.model import Findings, ReportOptions
from keeprate.analysis.runs import LoadedRuns
from keeprate.plugins.kinds import Registered
from keeprate.plugins.registry import registry
from keeprate.results.row_schemas import ROW_SCHEMA
from keeprate.results.store import Store
from paths import DOCS
from results_factory import fill

TYPES = {"id": pl.String, "seed": pl.Int64, "reduces": pl.Boolean, "top1_percent": pl.Float64}


def documented_columns() -> set[str]:
    rows = (DOCS / "python.md").read_text(encoding="utf-8").splitlines()
    first = " ".join(row.split("|")[1] for row in rows if row.startswith("| `"))
    return set(re.findall(r"`(\w+)`", first))


@keeprate.as_method
def fails(tokens, attention, stage):  # type: ignore[no-untyped-def]
    raise ValueError("no luck")


@pytest.fixture(autouse=True)
def position(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True)
class Made:
    """A table of two methods at two costs, and after it one of a method alone, in one store."""

    folder: Path
    several: ComparisonTable
    one: ComparisonTable


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        several = compare(methods=["tome", "random"], schedules=["r=4", "r=2"])
        return Made(folder, several, compare(methods="tome"))


@pytest.fixture
def made(position: Path, made_once: Made, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Both tables, in the working directory that they name their folder from."""
    monkeypatch.chdir(made_once.folder)
    return made_once


def test_the_frame_has_the_columns_that_are_documented_and_their_types(made: Made) -> None:
    table = made.one
    assert set(table.frame.columns) <= documented_columns()
    assert dict(table.frame.schema) | TYPES == dict(table.frame.schema)
    tome, plain = table.frame.rows(named=True)
    assert (tome["method"], plain["method"]) == ("tome", "full")
    assert tome["macs_total"] == tome["macs_model"] + tome["macs_overhead"]
    assert plain["difference_points"] is None
    assert tome["images_per_second"] is None


def test_rows_are_found_by_id_and_by_a_label_of_one_run(made: Made) -> None:
    table = made.several
    by_id = table.rows(table.frame.filter(method="tome")["id"][0])
    assert {**by_id.schema, **ROW_SCHEMA} == dict(by_id.schema)
    assert by_id["correct"].dtype == pl.Boolean
    assert by_id.height == 20
    assert table.rows("full").height == 20
    with pytest.raises(KeeprateError, match="Several runs are 'tome': name one by id, tome-"):
        table.rows("tome")
    with pytest.raises(KeeprateError, match="No run 'tomme'"):
        table.rows("tomme")


def test_the_table_has_the_runs_of_the_call_alone(made: Made) -> None:
    assert set(made.several.frame["method"]) == {"tome", "random", "full"}
    assert set(made.one.frame["method"]) == {"tome", "full"}
    assert made.one.folder == made.several.folder
    assert len(Store("runs/digits").results()[0]) == 5


class Drawing(Report):
    """Draws nothing much."""

    name: ClassVar[str] = "drawing"

    def write(self, findings: Any, folder: Path) -> list[Path]:
        raise ValueError("no ink")

    def chart(self, findings: Any) -> object:
        return [point.run_id for group in findings.groups for point in group.points]


@pytest.mark.slow
def test_the_plot_is_the_chart_of_a_report_that_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    table = compare(methods="tome")
    assert "vega" in table.plot().to_json()
    offer = Registered("drawing", Drawing, "mine", "mine.py", "")
    monkeypatch.setitem(registry().reports, "drawing", offer)  # type: ignore[arg-type]
    assert table.plot("drawing") == list(table.frame["id"])
    with pytest.raises(KeeprateError, match="Report 'csv' draws no chart"):
        table.plot("csv")
    with pytest.raises(KeeprateError, match="No report 'plott'"):
        table.plot("plott")
    monkeypatch.setattr(registry(), "reports", {"csv": registry().reports["csv"]})
    with pytest.raises(KeeprateError, match="The reports here draw no chart"):
        table.plot()


@pytest.mark.slow
def test_reports_are_of_the_runs_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    compare(methods="random")
    table = compare(methods="tome")
    (path,) = table.report("figures", formats="csv")
    assert path.parent == Path("figures")
    assert set(pl.read_csv(path)["method"]) == {"tome", "full"}
    assert table.report(formats=["csv"])[0].parent == table.folder
    with pytest.raises(KeeprateError, match=r"No report 'cvs'. Did you mean 'csv'"):
        table.report("figures", formats=["cvs"])
    offer = Registered("drawing", Drawing, "mine", "mine.py", "")
    monkeypatch.setitem(registry().reports, "drawing", offer)  # type: ignore[arg-type]
    with pytest.raises(KeeprateError, match=r"Report 'drawing' of mine.py failed: .*no ink"):
        table.report("figures", formats=["drawing"])


def test_the_table_reads_well_as_text_and_in_a_notebook(made: Made) -> None:
    table = made.one
    title, heading, *lines = str(table).splitlines()
    assert title == "digits classifier on digits, 20 images, 32-true"
    assert heading.startswith("Method")
    assert [line.split()[0] for line in lines] == ["tome", "full"]
    page = table._repr_html_()
    assert page.count("<tr>") == 3
    assert '<td style="text-align: left">tome</td>' in page
    assert repr(table) == "<ComparisonTable of 2 runs in runs/digits>"


def test_what_a_page_shows_is_escaped(tmp_path: Path) -> None:
    fill(tmp_path / "some")
    results, _ = Store(tmp_path / "some").results()
    table = ComparisonTable(tmp_path / "some", [result.id for result in results])
    object.__setattr__(table.groups[0], "title", "<b>")
    assert "<caption>&lt;b&gt;</caption>" in table._repr_html_()


def test_a_table_of_runs_waits_with_the_comparisons_until_they_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []

    def counted(evidence: LoadedRuns, options: ReportOptions) -> Findings:
        computed.append(len(evidence.groups))
        return findings(evidence, options)

    monkeypatch.setattr("keeprate.comparison_table.findings", counted)
    store = fill(tmp_path / "some")
    table = ComparisonTable(store.folder, [result.id for result in store.results()[0]])
    assert str(table)
    assert table.frame.height == len(table) == len(table.groups[0].points) == 5
    assert computed == []
    assert table.findings.groups[0].points == table.groups[0].points
    assert table.report(tmp_path, formats=["csv", "comparisons"])
    assert computed == [1]


def test_a_run_that_fails_is_told_and_the_others_are_there() -> None:
    table = compare(methods=[fails, "tome"])
    assert set(table.frame["method"]) == {"tome", "full"}
    (problem,) = table.problems
    assert "no luck" in problem
    assert f"Warning: {problem}" in str(table)
    assert "no luck" in table._repr_html_()
