"""A class's hash changes with the code it depends on, and with nothing else."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from torch import nn

import keeprate_methods
from keeprate import Method
from keeprate.plugins.code.code_hash import read_source, source_sha256
from keeprate.plugins.registry import load, registry
from package_files import CLASS, edit, write

BUILT_IN = Path(keeprate_methods.__file__).parent
Package = Callable[[dict[str, str]], type]


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules that a test wrote are forgotten after it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    forget("pack", "copied_methods", "mixins", "space")


def forget(*packages: str) -> None:
    for name in [each for each in sys.modules if each.split(".")[0] in packages]:
        del sys.modules[name]
    importlib.invalidate_caches()


def imported(module: str, name: str = "Mine") -> type:
    """A class as a new process would import it."""
    forget("mixins", "copied_methods", module.split(".")[0])
    found: type = getattr(importlib.import_module(module), name)
    return found


def copied(folder: Path) -> dict[str, str]:
    """The hashes of the built-in methods, of a copy of their package that can be edited."""
    if not folder.exists():
        shutil.copytree(BUILT_IN, folder)
    imported(folder.name, "keeprate_methods")
    offered = importlib.import_module(folder.name).keeprate_methods()
    return {each.name: source_sha256(each) for each in offered}


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("tome.py", {"tome"}),
        ("matching.py", {"tome"}),
        ("page_rank.py", {"zero-tprune"}),
        ("overhead.py", {"zero-tprune"}),
        ("zero_tprune.py", {"zero-tprune"}),
        ("random_drop.py", {"random"}),
        ("full.py", {"full"}),
        ("__init__.py", set()),
    ],
)
def test_a_change_to_a_built_in_method_changes_that_method_alone(
    file: str, names: set[str], tmp_path: Path
) -> None:
    before = copied(tmp_path / "copied_methods")
    assert len(before) > 5
    edit(tmp_path / "copied_methods" / file)
    after = copied(tmp_path / "copied_methods")
    assert {name for name, sha in after.items() if sha != before[name]} == names


def test_every_built_in_method_and_data_set_has_a_hash_of_its_own() -> None:
    found = load(environ={"KEEPRATE_PLUGINS": ""})
    offers = [*found.methods.values(), *found.datasets.values()]
    hashes = {source_sha256(each.cls) for each in offers}
    assert len(hashes) == len(offers)
    assert all(len(sha) == 64 for sha in hashes)


def test_classes_of_keeprate_and_of_libraries_have_none() -> None:
    assert {source_sha256(each.cls) for each in registry().backbones.values()} == {""}
    assert source_sha256(Method) == source_sha256(nn.Linear) == source_sha256(dict) == ""


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """`package(files)` writes a package `pack` and returns the class `Mine` of `pack.mine`."""

    def make(files: dict[str, str]) -> type:
        write(tmp_path / "pack", {"__init__.py": "", "mine.py": CLASS} | files)
        return imported("pack.mine")

    return make


IMPORTS = {
    "from . import helper": "helper.py",
    "from .helper import value": "helper.py",
    "from .helper import *": "helper.py",
    "from pack import helper": "helper.py",
    "from pack.helper import value": "helper.py",
    "import pack.helper": "helper.py",
    "import pack.helper as short": "helper.py",
    "import torch, pack.helper as short": "helper.py",
    "from .sub.deep import value": "sub/deep.py",
    "from .sub import deep": "sub/deep.py",
    "from . import sub": "sub/__init__.py",
    "from .sub import CONSTANT": "sub/__init__.py",
    "import pack.sub.deep": "sub/__init__.py",
    "from . import TOP": "__init__.py",
    "import pack": "__init__.py",
    "def later():\n    from .helper import value": "helper.py",
    "class Later:\n    import pack.helper as short": "helper.py",
    "try:\n    from .helper import value\nexcept ImportError:\n    value = 0": "helper.py",
    "from .between import value": "helper.py",
    "from .circle import value": "circle.py",
}
FILES = {
    "__init__.py": "TOP = 1\n",
    "helper.py": "value = 1\n",
    "between.py": "def later():\n    from . import helper\nvalue = 1\n",
    "circle.py": "value = 1\nfrom . import mine\n",
    "sub/__init__.py": "CONSTANT = 1\n",
    "sub/deep.py": "value = 1\n",
}


@pytest.mark.sample(5)
@pytest.mark.parametrize("statement", IMPORTS)
def test_what_is_imported_counts_and_the_rest_of_the_package_does_not(
    statement: str, tmp_path: Path, package: Package
) -> None:
    files = FILES | {"mine.py": f"{statement}\n{CLASS}", "other.py": "1\n", "sub/other.py": "1\n"}
    before = source_sha256(package(files))
    edit(tmp_path / "pack/other.py")
    edit(tmp_path / "pack/sub/other.py")
    assert source_sha256(imported("pack.mine")) == before
    edit(tmp_path / "pack" / IMPORTS[statement])
    assert source_sha256(imported("pack.mine")) != before


@pytest.mark.parametrize("file", ["__init__.py", "helper.py", "sub/__init__.py"])
@pytest.mark.parametrize(
    "statement",
    [
        "from .sub.deep import value",
        "import pack.sub.deep as short",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .helper import value",
        "import typing\nif typing.TYPE_CHECKING:\n    from . import helper, TOP",
    ],
)
def test_packages_passed_through_and_imports_for_types_do_not_count(
    file: str, statement: str, tmp_path: Path, package: Package
) -> None:
    before = source_sha256(package(FILES | {"mine.py": f"{statement}\n{CLASS}"}))
    edit(tmp_path / "pack" / file)
    assert source_sha256(imported("pack.mine")) == before


def test_what_stands_beside_imports_for_types_counts(tmp_path: Path, package: Package) -> None:
    guarded = "if TYPE_CHECKING:\n    pass\nelse:\n    from .helper import value\n"
    code = f"from typing import TYPE_CHECKING\n{guarded}{CLASS}"
    before = source_sha256(package(FILES | {"mine.py": code}))
    edit(tmp_path / "pack/helper.py")
    assert source_sha256(imported("pack.mine")) != before


def test_two_classes_of_one_module_differ(package: Package) -> None:
    mine = package({"mine.py": f"{CLASS}class Other(Mine):\n    pass\n"})
    assert source_sha256(mine) != source_sha256(sys.modules[mine.__module__].Other)


def test_the_same_code_in_other_files_is_other_code(package: Package) -> None:
    code = f"from .a import value\nfrom .b import value as other\n{CLASS}"
    one = source_sha256(package({"mine.py": code, "a.py": "value = 1\n", "b.py": "value = 2\n"}))
    other = source_sha256(package({"mine.py": code, "a.py": "value = 2\n", "b.py": "value = 1\n"}))
    assert one != other


def test_a_method_of_another_package_counts_with_all_it_needs(
    tmp_path: Path, package: Package
) -> None:
    copied(tmp_path / "copied_methods")
    derived = "from copied_methods.tome import ToMe\nclass Mine(ToMe):\n    name = 'mine'\n"
    before = source_sha256(package({"mine.py": derived}))
    edit(tmp_path / "copied_methods/full.py")
    assert source_sha256(imported("pack.mine")) == before
    edit(tmp_path / "copied_methods/matching.py")
    assert source_sha256(imported("pack.mine")) != before


def test_functions_of_a_package_that_brings_plugins_count_others_do_not(
    tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    copied(tmp_path / "copied_methods")
    code = f"def later():\n    from copied_methods.matching import bipartite_match\n{CLASS}"
    before = source_sha256(package({"mine.py": code}))
    described = {"METADATA": "Name: copied\n", "entry_points.txt": "[keeprate]\na = copied_methods"}
    write(site / "copied-1.0.dist-info", described)  # as pip does, meanwhile
    brought = source_sha256(imported("pack.mine"))
    assert brought != before
    edit(tmp_path / "copied_methods/matching.py")
    assert source_sha256(imported("pack.mine")) not in (before, brought)


def test_a_mixin_of_another_package_counts(tmp_path: Path, package: Package) -> None:
    write(tmp_path, {"mixins/__init__.py": "", "mixins/loud.py": "class Loud:\n    pass\n"})
    code = "from keeprate import Method\nfrom mixins.loud import Loud\n"
    mine = package({"mine.py": f"{code}class Mine(Loud, Method):\n    name = 'mine'\n"})
    before = source_sha256(mine)
    edit(tmp_path / "mixins/loud.py")
    assert source_sha256(imported("pack.mine")) != before


def test_a_namespace_package_in_two_folders_is_one_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "here", {"space/mine.py": f"from space.helper import value\n{CLASS}"})
    write(tmp_path / "there", {"space/helper.py": "value = 1\n"})
    for place in ("here", "there"):
        monkeypatch.syspath_prepend(tmp_path / place)
    before = source_sha256(imported("space.mine"))
    edit(tmp_path / "there/space/helper.py")
    assert source_sha256(imported("space.mine")) != before


@pytest.mark.parametrize("where", ["moved", "linked"])
def test_a_package_counts_the_same_wherever_it_lies(
    where: str, tmp_path: Path, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = f"from . import helper\nfrom .sub.deep import value\n{CLASS}"
    before = source_sha256(package(FILES | {"mine.py": code}))
    place = tmp_path / "elsewhere"
    place.mkdir()
    if where == "moved":
        (tmp_path / "pack").rename(place / "pack")
    else:
        (place / "pack").symlink_to(tmp_path / "pack")
    monkeypatch.syspath_prepend(place)
    mine = imported("pack.mine")
    assert sys.modules["pack"].__path__ == [str(place / "pack")]
    assert source_sha256(mine) == before


def test_code_edited_after_its_import_is_not_what_runs(tmp_path: Path, package: Package) -> None:
    mine = package({})
    before = source_sha256(mine)
    edit(tmp_path / "pack/mine.py")
    assert source_sha256(mine) == before


def test_code_is_what_it_was_when_it_was_first_read(tmp_path: Path, package: Package) -> None:
    before = source_sha256(package({}))
    mine = imported("pack.mine")
    read_source(mine)
    edit(tmp_path / "pack/mine.py")
    read_source(mine)
    assert source_sha256(mine) == before
    assert source_sha256(imported("pack.mine")) != before
