"""What docs/metrics.md says holds, and the metric that it writes out is in every report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import keeprate
from docs_factory import draw_svg_alone
from keeprate.cli import keeprate as command_line
from keeprate.dataset import Sample
from keeprate.plugins import registry as plugins
from keeprate.plugins.registry import load
from keeprate.results.store import Store
from keeprate_datasets.digits import Digits
from paths import DOCS

PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
IMAGES = 20


class Renamed(Digits):
    """The digits under names of ImageNet's validation images."""

    name = "renamed"

    def samples(self) -> list[Sample]:
        return [
            Sample(f"val/ILSVRC2012_val_{index + 1:08d}.JPEG", sample.label)
            for index, sample in enumerate(super().samples())
        ]


@pytest.fixture
def real_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The metric of the page, loaded, and labels beside it: none, wrong, or several."""
    monkeypatch.chdir(tmp_path)
    Path("real.py").write_text(EXAMPLES[0], encoding="utf-8")
    labels = [
        [[], [(sample.label + 1) % 10], sorted({sample.label, 3})][index % 7 % 3]  # type: ignore[operator, list-item]
        for index, sample in enumerate(Renamed().samples())
    ]
    Path("real.json").write_text(json.dumps(labels), encoding="utf-8")
    found = load([Path("real.py")], strict=True, environ={"KEEPRATE_PLUGINS": ""})
    monkeypatch.setattr(plugins, "_active", [found])
    return labels


def test_the_metric_of_the_page_is_in_the_rows_and_in_every_report(
    real_labels: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_svg_alone(monkeypatch)
    table = keeprate.compare(
        data=Renamed(), methods="tome", budgets="65%", limit=IMAGES, folder="runs/real"
    )
    for run in table.frame["id"]:
        rows = table.rows(run)
        for name, prediction, value in rows.select("sample", "prediction", "real").iter_rows():
            labels = real_labels[int(name[-13:-5]) - 1]
            assert value == (prediction in labels) if labels else value != value
        shown = table.frame.filter(id=run)["real_percent"].item()
        assert shown == pytest.approx(100 * rows["real"].drop_nans().mean())
    for result in Store(Path("runs/real")).results()[0]:
        assert list(result.measured.metric_sources) == ["real"]
    told = command("report", "runs/real", "--metric", "real", "--output", "out")
    (group,) = json.loads(Path("out/findings.report.json").read_text("utf-8"))["groups"]
    assert group["images"] == rows["real"].drop_nans().len() < IMAGES
    assert "ReaL top-1 %" in told
    for name in ("table.md", "tables.tex", "report.html", "findings.report.json", "accuracy.svg"):
        assert "ReaL top-1" in Path("out", name).read_text(encoding="utf-8")
    for name in ("table.csv", "comparisons.csv"):
        assert "real_percent" in Path("out", name).read_text(encoding="utf-8")


def command(*arguments: str) -> str:
    options = ["--plugin", "real.py"]
    group = CliRunner().invoke(command_line, [*arguments, *options], catch_exceptions=False)
    assert group.exit_code == 0, group.output
    return group.stdout


def test_every_metric_is_in_the_table() -> None:
    assert re.findall(r"^\| `([\w-]+)` \|", PAGE, re.MULTILINE) == list(plugins.registry().metrics)


def test_the_other_example_computes_what_is_built_in_with_more_bins() -> None:
    import torch

    space: dict[str, object] = {}
    exec(EXAMPLES[1], space)
    metric = space["Calibration"]()  # type: ignore[operator]
    columns = {
        "confidence": torch.tensor([0.9, 0.8], dtype=torch.float64),
        "correct": torch.tensor([True, False]),
    }
    assert metric.combine(columns) == pytest.approx((0.1 + 0.8) / 2)
