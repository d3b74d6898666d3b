"""The page on Python runs from top to bottom, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from keeprate.plugins.registry import registry
from paths import DOCS

PAGE = (DOCS / "python.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, object] = {"__name__": "notebook"}
    for place, code in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)):
        exec(compile(code, f"<cell {place}>", "exec"), space)
    contest = space["contest"].frame  # type: ignore[attr-defined]
    assert set(contest["method"]) == {"key-norm", "tome", "attention-score", "full"}
    assert contest.height == 9
    assert contest.select(pl.col("share_percent").filter(pl.col("reduces")).max()).item() < 81
    assert {path.suffix for path in Path("figures").iterdir()} >= {".tex", ".csv"}
    assert Path("accuracy.html").stat().st_size > 1000


def test_a_model_is_reduced_as_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    cells = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [cell] = [code for code in cells if "shorter.token_counts" in code]
    exec(compile(f"import keeprate\n{cell}", "python.md", "exec"), {})
    assert "1253683200" in capsys.readouterr().out


def test_every_argument_is_explained() -> None:
    from inspect import signature

    import keeprate

    told = set(re.findall(r"`(\w+)`", PAGE))
    assert set(signature(keeprate.compare).parameters) <= told
    assert set(signature(keeprate.as_method).parameters) - {"function"} <= told | {
        "name",
        "returns",
    }


def test_every_built_in_method_is_in_the_table_of_what_can_be_exported() -> None:
    named = re.findall(r"^\| `([\w-]+)[^|]*` \| (?:yes|no) \|", PAGE, re.MULTILINE)
    assert set(named) == set(registry().methods)
