"""Findings in files for other programs: everything in them, unrounded, under names that last."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.changes import changes
from keeprate.analysis.model import (
    FINDINGS_VERSION,
    Ablation,
    EqualCost,
    Findings,
    GroupFindings,
    PairedDifference,
    Point,
    SeriesAtCost,
)
from keeprate.analysis.provenance import FailedRun
from keeprate.results.store import Store
from keeprate_reports.comparisons_csv import COLUMNS, ComparisonsCsv
from keeprate_reports.findings_file import FindingsFile
from keeprate_reports.markdown_table import MarkdownTable
from results_factory import make_backbone, make_run, put

NASTY = "<script>%_&#|`*"


@pytest.fixture
def found(tmp_path: Path) -> Findings:
    store = Store(tmp_path)
    backbone = make_backbone("deit_small_patch16_224")
    put(store, make_run("full", backbone=backbone), accuracy=0.97)
    for value, accuracy in ((NASTY, 0.9), ("b", 0.6)):
        for keep in (50, 40):
            values = {"parameters": {"mode": value}, "backbone": backbone}
            put(store, make_run("zt", keep, budget=f"{keep}%", **values), accuracy)
    return findings_of(store)


def keys(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def test_the_json_has_every_field_and_says_its_version(found: Findings, tmp_path: Path) -> None:
    (path,) = FindingsFile().write(found, tmp_path)
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert content["version"] == FINDINGS_VERSION
    group = content["groups"][0]
    rival = group["equal_cost"][0]["rivals"][1]
    for kind, part in (
        (Findings, content),
        (GroupFindings, group),
        (Point, group["points"][0]),
        (EqualCost, group["equal_cost"][0]),
        (SeriesAtCost, rival),
        (PairedDifference, rival["verdict"]),
        (Ablation, group["ablations"][0]),
    ):
        assert list(part) == keys(kind)
    expected = found.groups[0].equal_cost[0].rivals[1].verdict
    assert expected is not None
    assert rival["verdict"]["adjusted_p_value"] == expected.adjusted_p_value


def test_files_of_reports_are_not_taken_for_runs(found: Findings, tmp_path: Path) -> None:
    FindingsFile().write(found, tmp_path)
    FindingsFile().write_changes(changes(Store(tmp_path), Store(tmp_path)), tmp_path)
    again = findings_of(Store(tmp_path))
    assert again.problems == ()
    assert again == found


def test_the_csv_has_a_row_for_every_comparison(found: Findings, tmp_path: Path) -> None:
    (path,) = ComparisonsCsv().write(found, tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scores = ["top1_percent", "top1_low_percent", "top1_high_percent"]
    differences = ["difference_points", "difference_low_points", "difference_high_points"]
    assert list(rows[0]) == [*COLUMNS[:7], *scores, *differences, *COLUMNS[13:]]
    kinds = [row["kind"] for row in rows]
    counts = {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    assert counts == {
        "equal cost": 4,
        "curve": 4,
        "mean over costs": 2,
        "curves compared": 1,
        "ablation": 4,
    }
    second = found.groups[0].equal_cost[0].rivals[1].verdict
    assert second is not None
    assert float(rows[1]["difference_points"]) == second.difference.value
    assert rows[1]["name"] == "zt mode=b"


def test_markdown_tells_of_comparisons_and_marks_the_best(found: Findings, tmp_path: Path) -> None:
    (path,) = MarkdownTable().write(found, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "### At 50%" in text
    assert "### zt: mode at 50%" in text
    assert "; distinguishably worse: " in text
    assert "## How it was computed" in text
    bold = [line for line in text.splitlines() if line.startswith("| **")]
    assert len(bold) == 4
    assert "<script>" not in without_commands(text)


def without_commands(text: str) -> str:
    """Markdown without its fenced blocks, in which everything is shown as it is."""
    return re.sub(r"^(`{3,})console\n.*?\n\1\n", "", text, flags=re.DOTALL | re.MULTILINE)


def test_markdown_has_the_provenance_and_the_commands_of_every_run(
    found: Findings, tmp_path: Path
) -> None:
    (path,) = MarkdownTable().write(found, tmp_path)
    text = path.read_text(encoding="utf-8")
    origins = found.groups[0].provenance
    for said in (
        "### Tokens after each block",
        "65 x4, 51 x8",
        "### Published",
        "### Provenance of each run",
        "### Code",
        f"| Weights SHA-256 | {'5e' * 32} |",
        *(f"| {each.run_id} |" for each in origins),
        *(f"\n{each.command}\n" for each in origins),
    ):
        assert said in text, said
    fences = re.findall(r"^(`{3,})(?:console)?$", text, re.MULTILINE)
    assert len(fences) == 2 * (len(origins) + len(found.groups[0].commands))


def test_a_command_cannot_end_its_fence(found: Findings, tmp_path: Path) -> None:
    group = replace(found.groups[0], commands=("keeprate '\n```\n# no heading\n````\n'",))
    (path,) = MarkdownTable().write(replace(found, groups=(group,)), tmp_path)
    text = path.read_text(encoding="utf-8")
    assert "\n`````console\nkeeprate '\n```\n# no heading" in text
    assert "# no heading" not in without_commands(text)


def test_markdown_tells_of_failed_runs_and_how_to_try_them_again(
    found: Findings, tmp_path: Path
) -> None:
    failed = FailedRun("bad-1", "bad *x*", "no | luck", "2026-01-02", "keeprate compare --method b")
    (path,) = MarkdownTable().write(replace(found, failures=(failed,)), tmp_path)
    text = path.read_text(encoding="utf-8")
    assert r"| bad-1 | bad \*x\* | 2026-01-02 | no \| luck |" in text
    assert "\nkeeprate compare --method b\n" in text.split("### Commands of failed runs")[1]
