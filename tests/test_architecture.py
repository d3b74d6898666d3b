"""What import-linter cannot tell of the architecture, and what must stay out of start-up."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import keeprate
from keeprate.plugins.registry import load
from paths import DOCS, ROOT

PACKAGES = {
    "keeprate": "framework",
    "keeprate_methods": "methods",
    "keeprate_datasets": "datasets",
    "keeprate_reports": "reports",
}
HEAVY = (
    "altair",
    "lightning",
    "numpy",
    "polars",
    "pydantic",
    "rich",
    "scipy",
    "sklearn",
    "timm",
    "torch",
    "torchmetrics",
    "torchvision",
)
LIGHT_MODULES = (
    "keeprate",
    "keeprate.__main__",
    "keeprate.cli",
    "keeprate.errors",
    "keeprate.hookspecs",
    "keeprate.method",
    "keeprate.plugins.parameters",
    "keeprate.plugins.registry",
    "keeprate_methods",
    "keeprate_datasets",
    "keeprate_reports",
)


def sources(package: str) -> list[Path]:
    return sorted((ROOT / PACKAGES[package]).rglob("*.py"))


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def test_the_framework_spells_no_registered_name() -> None:
    found = load(environ={"KEEPRATE_PLUGINS": ""})
    # models have layers named norm; what no method changes is fixed cost
    names = {*found.methods, *found.datasets, *found.reports} - {"norm", "fixed"}
    assert names
    for path in sources("keeprate"):
        for node in nodes(path):
            value = node.value if isinstance(node, ast.Constant) else None
            assert not (isinstance(value, str) and value in names), f"{path}: {value!r}"


def test_no_public_class_of_the_framework_has_the_name_of_another() -> None:
    modules = defaultdict(list)
    for path in sources("keeprate"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                modules[node.name].append(path.relative_to(ROOT).as_posix())
    assert {name: paths for name, paths in modules.items() if len(paths) > 1} == {}


def test_the_page_on_architecture_names_every_folder() -> None:
    tree = (DOCS / "architecture.md").read_text(encoding="utf-8").split("## ")[0]
    package = ROOT / "framework/keeprate"
    folders = {path.parent.name for path in package.glob("*/**/__init__.py")}
    assert [name for name in sorted(folders) if f" {name}/" not in tree] == []


@pytest.mark.parametrize("folder", ["datasets", "tests"])
def test_no_folder_shadows_an_installed_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(package: str) -> None:
    assert (ROOT / PACKAGES[package] / package / "py.typed").exists()


def test_start_up_imports_nothing_heavy() -> None:
    """One process imports them one after another, and tells what each one added."""
    code = (
        "import sys, importlib\n"
        f"for name in {LIGHT_MODULES}:\n"
        "    before = set(sys.modules)\n"
        "    importlib.import_module(name)\n"
        "    print(name, *(set(sys.modules) - before))\n"
    )
    added = {name: heavy(rest) for name, *rest in map(str.split, run("-c", code).splitlines())}
    assert added == {name: set() for name in LIGHT_MODULES}


def test_help_imports_nothing_heavier_than_click_and_pluggy() -> None:
    code = (
        "import sys, keeprate.__main__\n"
        "sys.argv = ['keeprate', '--help']\n"
        "try: keeprate.__main__.main()\n"
        "finally: print('modules:', *sys.modules)\n"
    )
    said, modules = run("-c", code).split("modules:")
    assert "Usage: keeprate [OPTIONS] COMMAND [ARGS]..." in said
    assert heavy(modules.split()) == set()
    ours = {name for name in modules.split() if name.startswith("keeprate.cli.")}
    assert ours == {"keeprate.cli.options", "keeprate.cli.printing"}


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def heavy(modules: list[str]) -> set[str]:
    return {name.split(".")[0] for name in modules} & set(HEAVY)


@pytest.mark.parametrize("name", keeprate.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert name in dir(keeprate)
    assert getattr(keeprate, name) is not None


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="module 'keeprate' has no attribute 'reducer'"):
        keeprate.reducer  # noqa: B018


def test_public_names_are_the_things_themselves() -> None:
    import keeprate.reduction.macs
    import keeprate.reduction.reduced_model

    assert keeprate.reduce is keeprate.reduction.reduce.reduce
    assert keeprate.macs is keeprate.reduction.macs.macs
