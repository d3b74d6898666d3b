"""What functions reach by ways that are easily overlooked: late imports, attributes, paths."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from keeprate import Method
from keeprate.plugins.code.code_hash import CodeHash, hash_code
from keeprate.plugins.registry import load
from package_files import edit, write

PLUGIN = """
import logging, re
from pathlib import Path
import keeprate
import helper as loaded
import inner.deep

HERE = Path(__file__).parent
LOG = logging.getLogger(__name__)
CELLS = [re.compile(text) for text in ("a", "b")]


def scaled(x):
    return x * scaled.power
scaled.power = 2


def read(path=HERE / "file.txt"):
    return float(path.read_text())


class Mine(keeprate.Method):
    name = "mine"
    held = HERE / "file.txt"

    def __init__(self, file: Path = HERE / "file.txt") -> None:
        self.file = file

    def score(self, tokens, attention, stage):
        {}


@keeprate.hookimpl
def keeprate_methods():
    return [Mine]
"""
FILES = {
    "helper.py": "K = 1\n",
    "inner/__init__.py": "",
    "inner/deep.py": "K = 1\n",
    "inner/file.txt": "1",
    "file.txt": "1",
}


def method(folder: Path, line: str) -> type[Method]:
    write(folder, {"plug.py": PLUGIN.replace("{}", line)} | FILES)
    return load([folder / "plug.py"], environ={"KEEPRATE_PLUGINS": ""}, strict=True).method("mine")


def of(cls: type[Method]) -> CodeHash:
    return hash_code(cls())


@pytest.mark.parametrize(
    ("line", "change"),
    [
        ("return scaled(tokens.size)", "scaled.power = 3"),
        ("return tokens.size * inner.deep.K", "inner.deep.K = 2"),
        ("import helper; return tokens.size * helper.K", "loaded.K = 2"),
        ("from helper import K; return tokens.size * K", "loaded.K = 2"),
        ("from .inner.deep import K; return tokens.size * K", "inner.deep.K = 2"),
    ],
)
def test_what_a_function_finds_when_it_runs_counts_as_it_is(
    line: str, change: str, tmp_path: Path
) -> None:
    cls = method(tmp_path, line)
    before = of(cls)
    assert before == of(cls)
    exec(change, vars(sys.modules[cls.__module__]))
    after = of(cls)
    assert (before.unknown, after.unknown) == ((), ())
    assert after.sha256 != before.sha256


@pytest.mark.parametrize(
    "line",
    [
        "return tokens.size * float(open(f'{HERE}/file.txt').read())",
        "return tokens.size * float(self.held.read_text())",
        "return tokens.size * float(self.file.read_text())",
        "return tokens.size * read()",
    ],
)
def test_a_file_counts_however_its_path_is_written(line: str, tmp_path: Path) -> None:
    cls = method(tmp_path, line)
    before = of(cls)
    edit(tmp_path / "file.txt")
    after = of(cls)
    assert (before.unknown, after.unknown) == ((), ())
    assert after.sha256 != before.sha256


@pytest.mark.parametrize(
    "line",
    [
        "return float((HERE / 'inner' / 'file.txt').read_text())",
        "import configparser; configparser.ConfigParser().read(HERE / 'inner/file.txt')",
        "import linecache; linecache.getline(str(HERE / 'inner/file.txt'), 1)",
        "import runpy; runpy.run_path(str(HERE / 'inner/file.txt'))",
        "import sqlite3; sqlite3.connect(HERE / 'inner/file.txt')",
    ],
)
def test_a_file_counts_whatever_reads_it(line: str, tmp_path: Path) -> None:
    cls = method(tmp_path, line)
    before = of(cls)
    edit(tmp_path / "inner/file.txt")
    assert before.unknown == ()
    assert of(cls).sha256 != before.sha256


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("return globals()['HERE']", "Mine.score calls globals"),
        ("return eval('HERE')", "Mine.score calls eval"),
        ("return Path(__file__).with_suffix('.json').read_text()", "reads a file"),
    ],
)
def test_what_code_does_not_name_is_asked_for(line: str, said: str, tmp_path: Path) -> None:
    code = PLUGIN.replace("{}", line).replace('    held = HERE / "file.txt"\n', "")
    code = code.replace('file: Path = HERE / "file.txt"', "file: int = 0")
    write(tmp_path, {"plug.py": code} | FILES)
    loaded = load([tmp_path / "plug.py"], environ={"KEEPRATE_PLUGINS": ""}, strict=True)
    assert said in of(loaded.method("mine")).unknown[0]


def test_loggers_patterns_and_installed_libraries_are_the_same_in_every_folder(
    tmp_path: Path,
) -> None:
    line = "import yaml; LOG.info(''); CELLS; yaml.safe_load(''); return tokens.size"
    one, two = (of(method(tmp_path / name, line)) for name in ("one", "two"))
    assert one == two
    assert one.unknown == ()
