"""benchmarks/gpu.py runs where little beside torch and timm is installed, and tells what fails."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
ABSENT = {"altair", "polars", "pydantic", "rich", "scipy", "sklearn", "vl_convert"}
"""Packages that keeprate needs elsewhere, and that such a machine lacks."""
SOURCES = [*(ROOT / name for name in ("framework", "methods", "datasets", "reports")), BENCHMARKS]
BLOCKED = f"""
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT - {"rich", "scipy", "sklearn"}}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
sys.argv[0] = "gpu.py"
sys.path.insert(0, {str(BENCHMARKS)!r})
runpy.run_path({str(BENCHMARKS / "gpu.py")!r}, run_name="__main__")
"""
"""Runs it without them. torch, lightning and timm import a few of them where these are there."""


def file_of(module: str) -> Path | None:
    """The file of a module of the project, None for any other."""
    for source in SOURCES:
        path = source.joinpath(*module.split("."))
        for found in (path.with_suffix(".py"), path / "__init__.py"):
            if found.is_file():
                return found
    return None


@cache
def imported_at_once(module: str) -> tuple[str, ...]:
    """The modules that a module of the project imports when it is imported itself."""
    path = file_of(module)
    return () if path is None else tuple(_imports(path, module))


def _imports(path: Path, module: str) -> Iterator[str]:
    """What a file imports outside functions and checks of types."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    waiting: list[ast.AST] = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If):
            only_types = isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
            waiting += [] if only_types else node.body
            waiting += node.orelse
        elif isinstance(node, ast.ClassDef | ast.Try | ast.With):
            waiting += node.body


def reached(start: str) -> dict[str, str]:
    """Every module that importing `start` imports, and the module that imports it first."""
    importer, waiting = {start: ""}, [start]
    while waiting:
        module = waiting.pop()
        if not imported_at_once(module):
            continue
        parts = module.split(".")
        names = [".".join(parts[:end]) for end in range(1, len(parts))]
        for name in [*names, *imported_at_once(module)]:
            if name not in importer:
                importer[name] = module
                waiting.append(name)
    return importer


@pytest.mark.parametrize(
    "start",
    ["gpu", "keeprate.cli.commands.speed", "keeprate_methods.zero_tprune", "keeprate_methods.dct"],
)
def test_no_package_that_such_a_machine_lacks_is_imported_at_once(start: str) -> None:
    importer = reached(start)
    assert "keeprate" in importer
    assert len(importer) > 10
    heavy = {name: by for name, by in importer.items() if name.partition(".")[0] in ABSENT}
    assert heavy == {}


def test_a_module_that_imports_one_of_them_is_found() -> None:
    assert "polars" in reached("keeprate.evaluation.rows")


@pytest.mark.slow
def test_the_benchmark_runs_on_a_processor_without_them(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    arguments = ["--device", "cpu", "--seconds", "25", "--methods", "tome", "random", "nosuch"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BLOCKED, *arguments, "--output", str(output)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    parts = done.stdout.split("\n## ")[1:]
    assert [part.splitlines()[0] for part in parts][:2] == ["Correctness", "Waits and launches"]
    assert "Failed: " not in done.stdout
    assert "KeeprateError: No method 'nosuch'" in parts[0]
    found = json.loads(output.read_text())
    assert [row["method"] for row in found["Correctness"]] == ["full", "tome", "random", "nosuch"]
    assert all(float(row["float32: logits"]) < 1e-3 for row in found["Correctness"][:3])
