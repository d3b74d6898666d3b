"""`keeprate new`: what it writes runs at once, is clean, and replaces nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner, Result

import keeprate
from docs_factory import SMALL
from keeprate.cli import keeprate as command
from keeprate.plugins import registry as plugins
from keeprate.plugins import scaffold as scaffold_files
from keeprate.plugins.scaffold import NEW
from keeprate.reduction import proof
from paths import ROOT

pytestmark = pytest.mark.usefixtures("own_folder", "own_registry")

LONG = "a-name.of_thirty-characters-xx"
LISTED = {
    "method": "methods",
    "dataset": "datasets",
    "backbone": "backbones",
    "metric": "metrics",
    "report": "reports",
}


def new(*arguments: str | Path) -> Result:
    return CliRunner().invoke(command, ["new", *map(str, arguments)])


def python(*arguments: str | Path, path: Path | None = None, cwd: Path = ROOT) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def _nothing_proved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_FOUND", {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with every kind of plugin, as files and as packages, of usual and long names."""
    folder = tmp_path_factory.mktemp("made")
    for what in NEW:
        for name, more in (
            (f"own-{what}", ()),
            (f"packed-{what}", ("--package",)),
            (f"{what[-2:]}{LONG[2:]}", ()),
            (f"p{what[-2:]}{LONG[3:]}", ("--package",)),
            (f"{what[-2:]}x", ()),
        ):
            done = new(what, name, "--output", folder, *more)
            assert done.exit_code == 0, done.output
    yield folder
    plugins.activate(plugins.load())


@pytest.fixture(scope="module")
def installed(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the packages."""
    folder = tmp_path_factory.mktemp("installed")
    packages = [made / f"packed-{what}" for what in NEW]
    quiet = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--no-warn-conflicts")
    python("-m", "pip", "install", *quiet, "--target", folder, *packages)
    return folder


@pytest.mark.slow
def test_everything_passes_the_project_s_lint(made: Path) -> None:
    python("-m", "ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml", made)
    python(
        "-m", "ruff", "format", "--check", "--no-cache", "--config", ROOT / "pyproject.toml", made
    )


@pytest.mark.system
def test_everything_passes_the_project_s_types(made: Path) -> None:
    python("-m", "mypy", "--config-file", ROOT / "pyproject.toml", *sorted(made.rglob("*.py")))


@pytest.mark.slow
@pytest.mark.parametrize("what", NEW)
def test_a_package_passes_its_own_lint(what: str, made: Path) -> None:
    package = made / f"packed-{what}"
    python("-m", "ruff", "check", "--no-cache", cwd=package)
    python("-m", "ruff", "format", "--check", "--no-cache", cwd=package)


@pytest.mark.parametrize("what", NEW)
def test_three_places_to_change_are_marked(what: str, made: Path) -> None:
    for path in (f"own_{what}.py", f"packed-{what}/src/packed_{what}/{what}.py"):
        marks = re.findall(r"Change this \((\d) of 3\): ", (made / path).read_text("utf-8"))
        assert marks == ["1", "2", "3"]


def test_a_package_has_everything_it_needs(made: Path) -> None:
    package = made / "packed-method"
    assert {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()} == {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "pyproject.toml",
        "src/packed_method/__init__.py",
        "src/packed_method/method.py",
        "src/packed_method/py.typed",
        "tests/test_packed_method.py",
    }


@pytest.mark.system
def test_installed_packages_are_found(installed: Path) -> None:
    listed = json.loads(python("-m", "keeprate", "list", "--json", path=installed))
    for what, kind in LISTED.items():
        [found] = [each for each in listed[kind] if each["name"] == f"packed-{what}"]
        assert found["origin"] == f"packed-{what} 0.1.0"
        assert found["description"].endswith(".")


QUICK = ("-k", "not test_promise or described or needs or overhead or identity")


@pytest.mark.system
@pytest.mark.parametrize(
    ("which", "least"), [(QUICK, 20), pytest.param((), 60, marks=pytest.mark.slow)]
)
def test_the_tests_that_come_with_it_pass(
    which: tuple[str, ...], least: int, made: Path, installed: Path
) -> None:
    tests = [path for what in NEW for path in made.glob(f"**/test_*ed_{what}.py")]
    tests += [made / f"test_own_{what}.py" for what in NEW]
    assert len(tests) == 2 * len(NEW)
    strict = ("-q", "-W", "error", "-p", "no:cacheprovider", *which)
    said = python("-m", "pytest", *strict, *tests, path=installed, cwd=made)
    assert int(re.findall(r"(\d+) passed", said)[0]) >= least


@pytest.mark.slow
@pytest.mark.parametrize("what", NEW)
def test_what_it_says_to_type_next_runs(what: str) -> None:
    done = new(what, f"my-{what}", "--output", "a folder")
    assert done.exit_code == 0, done.output
    typed = [shlex.split(line) for line in done.output.splitlines() if line.startswith("  ")]
    assert typed[-1] == ["pytest", f"a folder/test_my_{what}.py"]
    assert len(typed) > 1
    for program, *arguments in typed[:-1]:
        assert program == "keeprate"
        small = SMALL["compare"] if "compare" in arguments else []
        small = ["--only", "described"] if arguments[0] == "check" else small
        ran = CliRunner().invoke(command, [*arguments, *small])
        assert ran.exit_code == 0, f"{arguments}\n{ran.output}"


def test_a_new_method_reduces_a_model() -> None:
    assert new("method", "my-method").exit_code == 0
    plugins.activate(plugins.load([Path("my_method.py")]))
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=4, depth=4).eval()
    reduced = keeprate.reduce(vit, "my-method", "10@1", power=1.0)
    with torch.inference_mode():
        assert reduced(torch.zeros(2, 3, 32, 32)).shape == (2, 1000)
    assert reduced.token_counts.tolist() == [[65, 11, 11, 11]] * 2
    with pytest.raises(keeprate.KeeprateError, match=r"power is 0\.0, and must be above 0"):
        keeprate.reduce(vit, "my-method", "10@1", power=0.0)


def test_a_new_data_set_is_read_by_the_classifier_that_ships() -> None:
    assert new("dataset", "my-data").exit_code == 0
    data = plugins.load([Path("my_data.py")]).dataset("my-data")()
    images = torch.stack([data.image(index) for index in range(100)])
    model = data.classifier()
    assert model is not None
    with torch.inference_mode():
        found = model(images / 127.5 - 1).argmax(dim=1)
    labels = torch.tensor([sample.label for sample in data.samples()[:100]])
    assert float((found == labels).float().mean()) > 0.7


def test_a_new_backbone_is_proved_with_the_model_around_it() -> None:
    assert new("backbone", "my-backbone").exit_code == 0
    path = Path("my_backbone.py")
    path.write_text(path.read_text().replace("= self.vit(images)", "= 2 * self.vit(images)"))
    done = CliRunner().invoke(command, ["check-backbone", str(path)])
    assert done.exit_code == 1
    assert "FAIL  every token kept" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("metod", "mine"), "No kind of plugin 'metod'. Did you mean 'method'?"),
        (
            ("engine", "mine"),
            "No kind of plugin 'engine'. Known: backbone, dataset, method, metric, report.",
        ),
        (("method", "my:method"), "'my:method' cannot be a name: it is made of letters, digits"),
        (("method", "méthode"), "'méthode' cannot be a name"),
        (("method", "3d"), "begins with a letter, since a Python module of that name is made"),
        (("method", "mine-"), "ends with a letter or a digit. Choose such a name."),
        (("method", "../mine"), "'../mine' cannot be a name"),
        (("method", "m" * 31), "has 31 characters. Choose a name of at most 30."),
        (("method", "lambda"), "'lambda' is a word of Python's own. Choose another one."),
        (("dataset", "random"), "there is a module 'random' already (Python's own)"),
        (("dataset", "sys"), "there is a module 'sys' already (Python's own)"),
        (("dataset", "timm"), "there is a module 'timm' already ("),
        (("report", "test-table"), "test_table.py would be taken for something else by pytest"),
        (("report", "my.test"), "my_test.py would be taken for something else by pytest"),
        (("report", "conftest"), "conftest.py would be taken"),
        (("method", "tome"), "There is a method 'tome' already (keeprate 0.1.0). Choose another"),
        (("dataset", "digits"), "There is a data set 'digits' already (keeprate 0.1.0)."),
    ],
)
def test_what_cannot_be_made_is_refused(
    arguments: tuple[str, str], said: str, tmp_path: Path
) -> None:
    done = new(*arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert len(done.output.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["tokens", "Exception", "none", "stage", "method"])
def test_a_class_never_hides_another_name(name: str) -> None:
    assert new("method", name).exit_code == 0
    assert f"class {name.capitalize()}Method(Method)" in Path(f"{name.lower()}.py").read_text()
    assert plugins.load([Path(f"{name.lower()}.py")], strict=True).method(name)


@pytest.mark.parametrize("there", ["my_method.py", "test_my_method.py"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    Path(there).write_text("mine")
    done = new("method", "my-method")
    assert done.exit_code == 2
    assert f"{there} is there already, and nothing is overwritten." in done.output
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert Path(there).read_text() == "mine"


def test_a_link_to_nothing_is_not_overwritten() -> None:
    Path("my_method.py").symlink_to("elsewhere.py")
    assert "my_method.py is there already" in new("method", "my-method").output
    assert not Path("elsewhere.py").exists()


def test_a_package_beside_its_file_is_written_once() -> None:
    assert new("method", "my-method").exit_code == 0
    assert new("method", "my-method", "--package").exit_code == 0
    again = new("method", "my-method", "--package")
    assert "my-method is there already" in again.output


def test_a_name_that_a_plugin_file_has_is_refused() -> None:
    assert new("method", "mine").exit_code == 0
    done = new("method", "mine", "--output", "other", "--plugin", "mine.py")
    assert f"There is a method 'mine' already ({Path('mine.py').resolve()})." in done.output


@pytest.mark.parametrize("more", [(), ("--package",)])
def test_what_fails_half_way_leaves_nothing(
    more: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = os.rename, []

    def failing(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == (1 if more else 2):
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(scaffold_files.os, "rename", failing)
    done = new("method", "my-method", *more)
    assert done.exit_code == 2
    assert "No space left on device. Free some space there, or choose another" in done.output
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folder_s_place_is_told() -> None:
    Path("taken").write_text("")
    done = new("report", "mine", "--output", "taken")
    assert done.exit_code == 2
    assert "Cannot write to taken: File exists." in done.output


@pytest.mark.system
def test_the_templates_are_in_the_wheel(tmp_path: Path) -> None:
    python("-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path)
    [wheel] = tmp_path.glob("*.whl")
    folder = ROOT / "framework/keeprate/templates/new"
    expected = {str(path.relative_to(folder.parents[2])) for path in folder.rglob("*.j2")}
    assert len(expected) > 10
    assert expected <= set(zipfile.ZipFile(wheel).namelist())
