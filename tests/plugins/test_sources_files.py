"""The hash of a plugin file covers the files it needs, that of a typed class its code."""

from __future__ import annotations

import linecache
import shutil
from pathlib import Path

import pytest

from keeprate import Method
from keeprate.plugins.code.code_hash import source_sha256
from keeprate.plugins.registry import load
from package_files import CLASS, edit, write

FILE = f"""
from keeprate import hookimpl
{CLASS}
    def score(self, tokens, attention, stage):
        from beside import value
        import apart.scores
        import random

@hookimpl
def keeprate_methods():
    return [Mine]
"""
BESIDE = {
    "beside.py": "import further\n",
    "further.py": "1\n",
    "apart/__init__.py": "",
    "apart/scores.py": "from . import deeper\n",
    "apart/deeper.py": "1\n",
    "apart/other.py": "1\n",
    "random.py": "1\n",
    "other.py": "1\n",
}


def from_file(path: Path) -> str:
    """The hash of the method that a plugin file offers."""
    return source_sha256(load([path], environ={"KEEPRATE_PLUGINS": ""}).method("mine"))


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    write(folder, {"plug.py": FILE} | BESIDE)
    return folder / "plug.py"


@pytest.mark.sample(4)
@pytest.mark.parametrize("file", ["plug.py", *BESIDE])
def test_a_file_counts_with_the_modules_beside_it_that_it_imports(file: str, plugin: Path) -> None:
    before = from_file(plugin)
    edit(plugin.parent / file)
    ignored = file in ("random.py", "other.py", "apart/other.py")
    assert (from_file(plugin) == before) == ignored


def test_a_file_counts_the_same_under_another_name_in_another_folder(
    plugin: Path, tmp_path: Path
) -> None:
    before = from_file(plugin)
    shutil.copytree(plugin.parent, tmp_path / "copy")
    (tmp_path / "copy/plug.py").rename(tmp_path / "copy/renamed.py")
    (tmp_path / "link").symlink_to(plugin.parent)
    assert from_file(tmp_path / "copy/renamed.py") == before
    assert from_file(tmp_path / "link/plug.py") == before


def test_a_file_among_installed_packages_counts_alone(plugin: Path) -> None:
    (plugin.parent / "some-1.0.dist-info").mkdir()
    before = from_file(plugin)
    edit(plugin.parent / "beside.py")
    assert from_file(plugin) == before


def test_a_file_that_imports_what_is_not_python_can_be_hashed(plugin: Path) -> None:
    before = from_file(plugin)
    (plugin.parent / "beside.py").write_text("def (:")
    assert from_file(plugin) not in ("", before)


def typed(code: str) -> type:
    """A class of a session: its module has no file."""
    space: dict[str, type] = {}
    exec(code, {"__name__": "session"}, space)
    return space["Mine"]


def test_a_class_typed_into_a_session_counts_by_name_where_there_is_no_source() -> None:
    assert source_sha256(typed(CLASS)) == source_sha256(typed(CLASS))
    assert source_sha256(typed(CLASS)) not in ("", source_sha256(type("Other", (Method,), {})))


def test_a_class_typed_into_a_session_counts_by_its_source(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine, again = typed(CLASS), typed(CLASS)
    monkeypatch.setattr("inspect.getsource", lambda cls: "class Mine: 1")
    before = source_sha256(mine)
    monkeypatch.setattr("inspect.getsource", lambda cls: "class Mine: 2")
    assert source_sha256(again) != before


def test_a_class_typed_into_a_notebook_counts_by_its_functions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def cell(number: int) -> type:
        code = f"{CLASS}    def score(self, tokens, attention, stage):\n        return {number}\n"
        name = f"<cell-{number}>"
        monkeypatch.setitem(linecache.cache, name, (1, None, code.splitlines(True), name))
        space: dict[str, type] = {}
        exec(compile(code, name, "exec"), {"__name__": "session"}, space)
        return space["Mine"]

    assert source_sha256(cell(1)) != source_sha256(cell(2))
