"""A class counts by all that its code reaches, wherever the files do not say what that is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from keeprate import KeeprateError, Method
from keeprate.plugins.code.code_hash import CodeHash, hash_code
from keeprate.plugins.registry import load
from package_files import edit, write
from paths import ROOT

PLUGIN = """
import pathlib
import keeprate
import torch
from helper import scaled
from .constants import ALPHA
from inner import deep

FOLDER = pathlib.Path(__file__).parent
TABLE = torch.arange(4.0)
NAMES = {"b", "a", "c"}


def made(n):
    @keeprate.as_method(name=f"made-{n}")
    def rank(tokens, attention, stage):
        return tokens.size * n
    return rank


class Mine(keeprate.Method):
    name = "mine"
    alpha = 0.3
    table = {"a": 1}

    def __init__(self, power: float = 1.0) -> None:
        self.power = power
        self.derived = [power, TABLE]

    def score(self, tokens, attention, stage):
        from inner import late
        weight = float((FOLDER / "weight.txt").read_text())
        return scaled(tokens.size, len(NAMES)) * self.alpha * TABLE.sum() * ALPHA * weight * deep.X


@keeprate.hookimpl
def keeprate_methods():
    return [Mine, made(1), made(2)]
"""
FILES = {
    "helper.py": "from constants import ALPHA\ndef scaled(x, y=2): return x * ALPHA * y\n",
    "constants.py": "ALPHA = 0.5\n",
    "inner/__init__.py": "",
    "inner/deep.py": "from .other import X\n",
    "inner/other.py": "X = 1\n",
    "inner/late.py": "",
    "weight.txt": "2.0",
}


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    write(tmp_path / "one", {"plug.py": PLUGIN} | FILES)
    return tmp_path / "one/plug.py"


def method(path: Path, name: str = "mine") -> type[Method]:
    return load([path], environ={"KEEPRATE_PLUGINS": ""}, strict=True).method(name)


def module_beside(cls: type, name: str) -> ModuleType:
    return sys.modules[f"{cls.__module__.partition('.')[0]}.{name}"]


def of_instance(path: Path) -> CodeHash:
    return hash_code(method(path)())


@pytest.mark.parametrize("file", [name for name in FILES if name != "inner/__init__.py"])
def test_all_that_a_plugin_imports_or_reads_beside_it_counts(file: str, plugin: Path) -> None:
    before = of_instance(plugin)
    assert (before.unknown, of_instance(plugin)) == ((), before)
    edit(plugin.parent / file)
    after = of_instance(plugin)
    assert after.sha256 != before.sha256
    assert after.unknown == ()


def test_modules_of_one_name_beside_two_plugins_are_two_modules(
    plugin: Path, tmp_path: Path
) -> None:
    code = PLUGIN.replace('"mine"', '"other"').replace("made(1), made(2)", "")
    write(tmp_path / "two", {"plug.py": code} | FILES | {"constants.py": "ALPHA = 0.7\n"})
    files = [plugin, tmp_path / "two/plug.py"]
    loaded = load(files, environ={"KEEPRATE_PLUGINS": ""}, strict=True)
    alphas = [module_beside(loaded.method(name), "helper").ALPHA for name in ("mine", "other")]
    assert alphas == [0.5, 0.7]
    assert "helper" not in sys.modules


def test_what_is_changed_from_outside_counts_until_it_is_changed_back(plugin: Path) -> None:
    cls = method(plugin)
    mine, before = cls(), hash_code(cls())
    home, helper = sys.modules[cls.__module__], module_beside(cls, "helper")
    changes: list[tuple[object, str, object]] = [
        (cls, "alpha", 0.7),
        (cls, "table", {"a": 2}),
        (cls, "score", lambda self, tokens, attention, stage: tokens.size),
        (cls, "new", None),
        (mine, "alpha", 0.7),
        (mine, "derived", [2.0]),
        (home, "TABLE", torch.zeros(4)),
        (home, "scaled", lambda x, y: x),
        (home, "NAMES", {"a"}),
        (helper, "ALPHA", 0.9),
        (helper.scaled, "__defaults__", (3,)),
    ]
    for thing, name, value in changes:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(thing, name, value, raising=False)
            after = hash_code(mine)
            assert after.unknown == ()
            assert after.sha256 != before.sha256, name
            assert hash_code(mine) == after
        assert hash_code(mine) == before, name


def test_what_a_function_closes_over_counts(plugin: Path) -> None:
    one, two = hash_code(method(plugin, "made-1")), hash_code(method(plugin, "made-2"))
    assert one.sha256 != two.sha256
    cls = method(plugin, "made-1")
    function = vars(cls)["function"].__func__
    function.__closure__[0].cell_contents = 3
    assert hash_code(cls).sha256 != one.sha256


@pytest.mark.system
def test_ids_do_not_depend_on_the_process(plugin: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from keeprate.plugins.registry import load;"
        "from keeprate.plugins.code.code_hash import hash_code;"
        "m = load([Path(sys.argv[1])], environ={'KEEPRATE_PLUGINS': ''}).method('mine');"
        "sys.modules[m.__module__].NAMES |= {'d', 'e'}; print(hash_code(m()).sha256)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(plugin)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("open(__file__)", "STATE is a TextIOWrapper, which no other process can compare"),
        ("iter(open(__file__))", "STATE is a TextIOWrapper"),
        ("(i for i in [])", "STATE is a generator"),
    ],
)
def test_what_has_no_value_to_compare_is_named_and_never_the_same(
    line: str, said: str, plugin: Path
) -> None:
    code = PLUGIN.replace("NAMES = ", f"STATE = {line}\nNAMES = ").replace("(NAMES)", "(STATE)")
    plugin.write_text(code)
    cls = method(plugin)
    found = hash_code(cls())
    assert said in found.unknown[0]
    assert hash_code(cls()).sha256 != found.sha256
    state = vars(sys.modules[cls.__module__])["STATE"]
    state.close()


def test_a_file_that_is_not_known_is_asked_for_and_a_declared_one_counts(plugin: Path) -> None:
    code = PLUGIN.replace('"weight.txt"', 'f"{len(NAMES)}.txt"')
    plugin.write_text(code)
    assert "Mine.score reads a file that keeprate does not know" in of_instance(plugin).unknown[0]
    plugin.write_text(code.replace("    alpha =", '    reads = ("weight.txt",)\n    alpha ='))
    before = of_instance(plugin)
    assert before.unknown == ()
    edit(plugin.parent / "weight.txt")
    assert of_instance(plugin).sha256 != before.sha256
    (plugin.parent / "weight.txt").unlink()
    with pytest.raises(KeeprateError, match=r"'Mine' says in `reads` that it reads weight\.txt"):
        of_instance(plugin)


def test_an_environment_variable_is_no_parameter(plugin: Path) -> None:
    plugin.write_text(PLUGIN.replace("len(NAMES)", "__import__('os').environ['A']"))
    assert "Mine.score reads an environment variable" in of_instance(plugin).unknown[0]
