"""What docs/statistics.md shows is what its example prints, and it names all there is."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keeprate.analysis.statistics
from paths import DOCS

PAGE = (DOCS / "statistics.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)
    return str(found)


def test_the_example_prints_what_is_shown() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(block("python"), {})
    assert printed.getvalue() == block("text")


def test_every_function_is_on_the_page() -> None:
    returned = {"BootstrapEstimate", "Difference", "PairedComparison"}
    names = set(keeprate.analysis.statistics.__all__) - returned
    missing = {name for name in names if name not in PAGE}
    assert missing == set()


def test_its_files_import_numpy_and_scipy_only() -> None:
    allowed = {"numpy", "scipy", *sys.stdlib_module_names}
    for path in Path(keeprate.analysis.statistics.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and not node.level:
                assert str(node.module).partition(".")[0] in allowed, path
            elif isinstance(node, ast.Import):
                assert {each.name.partition(".")[0] for each in node.names} <= allowed, path


@pytest.mark.system
def test_statistics_import_numpy_and_scipy_only() -> None:
    code = "import sys, keeprate.analysis.statistics; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "lightning", "timm", "polars", "pydantic", "sklearn", "pandas"}
    assert heavy & set(done.stdout.split()) == set()
