"""The reports show what the findings say, whatever names it has, and need no model library."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.model import Findings, GroupFindings, ReportOptions
from keeprate.analysis.run_table import records, table, unit_of
from keeprate.plugins.registry import load
from keeprate.report import Report
from keeprate.results.store import Store
from keeprate_reports.accuracy_plot import AccuracyPlot
from keeprate_reports.comparisons_csv import ComparisonsCsv
from keeprate_reports.csv_table import CsvTable
from keeprate_reports.findings_file import FindingsFile
from keeprate_reports.latex_tables import LatexTables
from keeprate_reports.markdown_table import MarkdownTable, escape
from results_factory import (
    fill,
    make_backbone,
    make_data,
    make_result,
    make_rows,
    make_run,
    make_throughput,
    put,
)

NASTY = "<script>alert('|`*_x_*`|')</script> & [a](b)\n# no heading"


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    return findings_of(fill(tmp_path / "store"))


def renamed(group: GroupFindings, label: str) -> GroupFindings:
    points = tuple(replace(each, label=label) if each.reduces else each for each in group.points)
    return replace(group, points=points)


def scaled(group: GroupFindings, factor: float) -> GroupFindings:
    points = tuple(replace(each, macs=each.macs * factor) for each in group.points)
    return replace(group, points=points)


def test_the_built_in_reports_are_registered() -> None:
    offers = load(environ={"KEEPRATE_PLUGINS": ""}).reports
    assert {"markdown", "csv", "comparisons", "findings", "latex", "plot"} <= set(offers)
    for offer in offers.values():
        assert issubclass(offer.cls, Report)
        assert offer.description


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "report", [MarkdownTable, CsvTable, ComparisonsCsv, FindingsFile, LatexTables, AccuracyPlot]
)
@pytest.mark.parametrize("case", ["many runs", "one run", "no unpruned run", "several groups"])
def test_every_report_writes_files_for_every_kind_of_store(
    report: type[Report], case: str, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store")
    match case:
        case "many runs":
            fill(store.folder)
        case "one run":
            put(store, make_run("full"))
        case "no unpruned run":
            put(store, make_run("tome", 40))
        case _:
            fill(store.folder)
            put(store, make_run("tome", 30, backbone=make_backbone("other", "00")))
    paths = report().write(findings_of(store), tmp_path)
    assert paths
    for path in paths:
        assert path.parent == tmp_path
        assert path.stat().st_size > 100


class TestTable:
    def test_has_the_figures_of_the_runs(self, findings: Findings) -> None:
        columns = {column.heading: column.texts for column in table(findings.groups[0], 0.95)}
        assert columns["Method"] == ("random", "tome", "random", "tome", "full")
        assert columns["MMACs"][-1] == "43.250"
        assert columns["model + overhead"][-1] == "43.250 + 0.000"
        assert columns["% of unpruned"][-1] == "100.0"
        assert columns["vs unpruned, points [95%]"][-1] == "unpruned"
        difference = findings.groups[0].points[0].difference
        assert difference is not None
        assert columns["vs unpruned, points [95%]"][0] == (
            f"{difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
        )

    def test_has_intervals_of_the_level_that_was_asked_for(self, tmp_path: Path) -> None:
        store = fill(tmp_path)
        wide, narrow = (
            findings_of(store, ReportOptions(level=level)).groups[0].points[0].difference
            for level in (0.99, 0.5)
        )
        assert wide is not None
        assert narrow is not None
        assert wide.low < narrow.low < narrow.high < wide.high
        (path,) = MarkdownTable().write(findings_of(store, ReportOptions(level=0.5)), tmp_path)
        text = path.read_text(encoding="utf-8")
        assert "vs unpruned, points \\[50%\\]" in text
        assert f"[{narrow.low:+.2f}, {narrow.high:+.2f}" in text
        assert "with a 50 % interval" in text

    def test_leaves_out_what_was_not_measured(self, findings: Findings, tmp_path: Path) -> None:
        assert not {"Speed-up", "Of MACs' promise", "Images/s"} & {
            each.heading for each in table(findings.groups[0], 0.95)
        }
        run, store = make_run("full"), Store(tmp_path)
        store.write(make_result(run, make_rows(run), make_throughput(1.25)), make_rows(run))
        columns = {each.heading: each.texts for each in table(findings_of(store).groups[0], 0.95)}
        assert (columns["Speed-up"], columns["Images/s"]) == (("1.25",), ("1250",))

    @pytest.mark.parametrize(
        ("p_value", "text"), [(0.0004, "<0.001"), (0.0312, "0.031"), (1.0, "1.000"), (None, "")]
    )
    def test_p_values(self, p_value: float | None, text: str, findings: Findings) -> None:
        group = findings.groups[0]
        first, second = group.points[:2]
        points = (replace(first, p_value=p_value), replace(second, p_value=0.5))
        columns = {each.heading: each.texts for each in table(replace(group, points=points), 0.95)}
        assert columns["p"] == (text, "0.500")

    @pytest.mark.parametrize(
        ("factor", "name"), [(1, "MMACs"), (30, "GMACs"), (1e4, "GMACs"), (1e-2, "MMACs"),
                             (1e-3, "kMACs"), (1e-6, "kMACs")]
    )  # fmt: skip
    def test_the_unit_suits_the_cost(self, factor: float, name: str, findings: Findings) -> None:
        assert unit_of(scaled(findings.groups[0], factor)).name == name


class TestMarkdown:
    def text(self, findings: Findings, folder: Path) -> str:
        (path,) = MarkdownTable().write(findings, folder)
        return path.read_text(encoding="utf-8")

    def test_says_what_is_counted_and_what_was_run(
        self, findings: Findings, tmp_path: Path
    ) -> None:
        text = self.text(findings, tmp_path)
        for said in (
            "one multiply-accumulate counted as one",
            "Tango (1998)",
            "McNemar's exact test",
            "digits_vit (VisionTransformer), 672,000 parameters, 32 x 32 pixels",
            "43.250 MMACs unpruned",
            "weights shipped with digits (SHA-256 5e5e5e5e5e5e)",
            "Images: 200 of digits.",
            "Computed on cpu, float32.",
        ):
            assert said in text
        assert "## Problems" not in text

    def test_names_problems_skipped_images_and_throughput(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        run = make_run("tome", 40, data=make_data(skipped={"a": "empty", "b": "empty"}))
        store.write(make_result(run, make_rows(run), make_throughput()), make_rows(run))
        text = self.text(findings_of(store), tmp_path)
        assert "Images: 200 of digits, and 2 skipped as unreadable." in text
        assert "Images/s measured on cpu, float32, batch size 64" in text
        assert "no unpruned run to compare with" in text.split("## Problems")[1]

    def test_every_row_has_as_many_cells(self, findings: Findings, tmp_path: Path) -> None:
        nasty = replace(findings, groups=(renamed(findings.groups[0], NASTY),))
        first = self.text(nasty, tmp_path).split("## Compared")[0]
        rows = [row for row in first.splitlines() if row.startswith("|")]
        assert len(rows) == 2 + len(findings.groups[0].points)
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1

    def test_shows_any_name_as_text(self, findings: Findings, tmp_path: Path) -> None:
        nasty = replace(
            findings,
            groups=(replace(renamed(findings.groups[0], NASTY), title=NASTY),),
            problems=(NASTY,),
        )
        text = self.text(nasty, tmp_path)
        assert "<script>" not in text
        assert "\n# no heading" not in text
        assert "[a](b)" not in text

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("on_drop=merge", "on_drop=merge"),
            ("_x_", r"\_x\_"),
            ("a|b", r"a\|b"),
            (r"a\|b", r"a\\\|b"),
            ("<0.001", "&lt;0.001"),
            ("I'-S", "I'-S"),
        ],
    )
    def test_escapes_no_more_than_needed(self, text: str, shown: str) -> None:
        assert escape(text) == shown


def test_csv_has_every_figure_of_every_run_unrounded(findings: Findings, tmp_path: Path) -> None:
    first, *others = findings.groups[0].points
    points = (replace(first, label='a,"b"\nc'), *others)
    group = replace(findings.groups[0], points=points)
    (path,) = CsvTable().write(replace(findings, groups=(group,)), tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(records(findings.groups)[0])
    assert len(rows) == len(points)
    for row, point in zip(rows, points, strict=True):
        assert row["label"] == point.label
        assert float(row["top1_low_percent"]) == point.score.low
    assert rows[-1]["p_value"] == ""


@pytest.mark.system
def test_reports_import_neither_torch_nor_lightning(tmp_path: Path) -> None:
    fill(tmp_path)
    code = (
        "import sys, pathlib\n"
        "from keeprate.analysis.write import write_reports\n"
        "print(*write_reports(pathlib.Path(sys.argv[1])).files, sep='\\n')\n"
        "heavy = {'torch', 'lightning', 'timm', 'torchmetrics', 'sklearn', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {Path(line).name for line in done.stdout.splitlines()}
    tables = {"table.md", "table.csv", "comparisons.csv", "findings.report.json", "tables.tex"}
    assert tables | {"accuracy.svg", "accuracy.png", "accuracy.pdf"} <= names
