"""The example of docs/reports.md runs, and every report that ships is in its table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from keeprate.cli import keeprate
from keeprate_reports.alike_csv import AlikeCsv
from keeprate_reports.comparisons_csv import ComparisonsCsv
from keeprate_reports.csv_table import CsvTable
from keeprate_reports.findings_file import FindingsFile
from keeprate_reports.latex_tables import LatexTables
from keeprate_reports.markdown_table import MarkdownTable
from paths import DOCS
from results_factory import fill, make_run, put

TEXT = (DOCS / "reports.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "report", [MarkdownTable, CsvTable, ComparisonsCsv, AlikeCsv, FindingsFile, LatexTables]
)
def test_the_table_names_the_report(report: type) -> None:
    assert f"| `{report.name}` |" in TEXT  # type: ignore[attr-defined]


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    Path("winners.py").write_text(code)
    fill(Path("runs/first"))
    put(fill(Path("runs/second")), make_run("tome", 40), accuracy=0.5)
    started = ["--plugin", "winners.py", "report", "runs/first", "--report", "winners"]
    done = CliRunner().invoke(keeprate, started)
    assert done.exit_code == 0, done.output
    lines = Path("runs/first/winners.txt").read_text().splitlines()
    assert [line.split(": ")[1] for line in lines] == ["random, tome", "random, tome"]
    done = CliRunner().invoke(keeprate, [*started, "--compare", "runs/second"])
    assert done.exit_code == 0, done.output
    assert Path("runs/second/counts.txt").read_text() == "1 changed\n"
