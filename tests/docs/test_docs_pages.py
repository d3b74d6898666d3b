"""Every command and example of the documentation runs, and the site builds without a warning.

`make test` runs one page and reads the commands of all others; `make test-all` runs every page.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs_factory import (
    DOCS,
    blocks,
    draw_svg_alone,
    furnish,
    run_page,
    settle,
    understand,
    write_files,
)
from keeprate.plugins.registry import activate, load

pytestmark = pytest.mark.usefixtures("own_registry")

ROOT = DOCS.parent
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))
TESTED_BY = {
    "carrying_state.md": "docs/test_carrying_state_docs.py",
    "clusters.md": "evaluation/test_tasks_elsewhere.py",
    "huggingface.md": "docs/test_huggingface_docs.py",
    "metrics.md": "docs/test_metrics_docs.py",
    "new_backbone.md": "backbones/test_new_backbone.py",
    "pictures.md": "docs/test_pictures_docs.py",
    "plugins.md": "plugins/test_hooks.py",
    "runs.md": "docs/test_runs_docs.py",
    "statistics.md": "docs/test_statistics_docs.py",
}
"""Pages whose examples need more than a folder of files, and the tests that run them."""


def runs_something(page: str) -> bool:
    return any(block.language == "python" or block.commands for block in blocks(page))


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    furnish(folder)
    return folder


RUN_HERE = [page for page in PAGES if runs_something(page) and page not in TESTED_BY]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN_HERE)
def test_a_page_runs_from_top_to_bottom(
    page: str, furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(furnished, tmp_path)
    monkeypatch.chdir(tmp_path)
    draw_svg_alone(monkeypatch)
    activate(load())
    assert run_page(page)


@pytest.mark.parametrize("page", [page for page in PAGES if runs_something(page)])
def test_the_commands_of_a_page_are_understood(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(blocks(page))
    for block in blocks(page):
        for command in block.commands:
            understand(command)


@pytest.mark.parametrize("page", RUN_HERE)
def test_the_examples_of_a_page_are_python(page: str) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, page, "exec")


def test_a_command_that_there_is_not_is_not_understood() -> None:
    for wrong in ("keeprate compare --budgets 50%", "keeprate comparing", "keeprat compare"):
        with pytest.raises(AssertionError, match=wrong):
            understand(wrong)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_is_there(page: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", (DOCS / page).read_text(encoding="utf-8"))
    folder = (DOCS / page).parent
    of_the_project = {path.name.lower() for path in ROOT.glob("*.md")}  # copied into the site
    missing = [link for link in links if not (folder / link).is_file()]
    assert set(missing) <= of_the_project


@pytest.mark.parametrize("page", TESTED_BY)
def test_a_page_with_a_test_of_its_own_is_read_there(page: str) -> None:
    assert runs_something(page)
    assert page in (ROOT / "tests" / TESTED_BY[page]).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.system
def test_every_page_is_in_the_site(site: Path) -> None:
    names = [page.removesuffix(".md") for page in PAGES if not page.endswith("index.md")]
    assert [name for name in names if not (site / name / "index.html").is_file()] == []


@pytest.mark.system
def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loads = re.compile(r"""<(?:script|img|iframe|link rel="stylesheet")[^>]*"(https?:)?//[^"]*""")
    pages = {path: loads.findall(path.read_text("utf-8")) for path in site.rglob("*.html")}
    assert {path: found for path, found in pages.items() if found} == {}


@pytest.mark.system
def test_equations_are_set_without_a_script(site: Path) -> None:
    page = (site / "methods/index.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert "language-math" not in page
