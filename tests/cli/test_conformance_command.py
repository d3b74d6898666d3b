"""`keeprate check`, and the pytest plugin: the same promises, told live and as tests."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keeprate.cli import keeprate
from keeprate.testing import CHECKS

pytestmark = pytest.mark.usefixtures("own_registry")

METHOD = '''
from keeprate import Method, Needs, hookimpl


class KeyNorm(Method):
    """Keeps the patch tokens with the longest keys."""

    name = "key-norm"
    needs = Needs.KEYS

    def __init__(self, power: float = 2.0) -> None:
        self.power = power

    def score(self, tokens, attention, stage):
        score = attention.k.norm(p=self.power, dim=-1).mean(dim=1)
        return score - score.mean(dim=0)


@hookimpl
def keeprate_methods():
    return [KeyNorm]
'''
GOOD = METHOD.replace(" - score.mean(dim=0)", "")
BACKBONE = '''
from keeprate import Backbone, hookimpl
from keeprate.backbones.timm.vit import TimmViT


class Wrapped(TimmViT):
    """Wraps."""

    name = "wrapped"


@hookimpl
def keeprate_backbones():
    return [Wrapped]
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(METHOD)
    return path


def typed(*arguments: str) -> Result:
    return CliRunner().invoke(keeprate, ["check", *arguments])


def test_a_broken_promise_is_told_in_full_and_ends_with_status_1(file: Path) -> None:
    done = typed(str(file), "--only", "counts", "--only", "batch")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    assert lines[0] == "Method 'key-norm'"
    assert re.fullmatch(r"  ok    counts +\d+\.\d\d s", lines[1])
    assert re.fullmatch(r"  FAIL  batch +\d+\.\d\d s", lines[2])
    promised, happened, given, look = (line.strip() for line in lines[3:7])
    assert promised == "promised: An image's result does not depend on what else is in its batch."
    assert re.fullmatch(
        r"happened: logits of image 0 differ by \S+ of the largest in a batch of 6 and in one of 1",
        happened,
    )
    assert given.startswith("input:    Case(kind='class token', schedule='18@0,11@2,8@3', batch=6,")
    line = METHOD.splitlines().index("    def score(self, tokens, attention, stage):") + 1
    assert look == f'look at:  {file}:{line} (score); docs/conformance.md, "batch"'
    assert re.fullmatch(r"2 promises: 1 kept, 1 broken; \d+\.\d s", lines[7])


def test_a_good_method_ends_with_status_0(file: Path) -> None:
    file.write_text(GOOD)
    done = typed(f"{file}:power=1", "--only", "batch", "--only", "pickles")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Method 'key-norm:power=1'\n")


def test_what_is_not_tried_for_one_reason_is_told_together(file: Path) -> None:
    file.write_text(GOOD.replace("attention.k", "attention.keys"))
    lines = typed(str(file), "--only", "returns", "--only", "counts", "--only", "ties").output
    assert "  ----  counts, ties\n        not tried: it ends as 'returns' does\n" in lines
    assert lines.count("----") == 1


def test_an_unknown_name_is_answered_with_what_has_promises() -> None:
    done = typed("xyz")
    assert done.exit_code == 2
    assert "digits" in done.output
    assert "timm-vit" not in done.output


def test_parameters_go_with_a_name_too() -> None:
    done = typed("random:seed=3", "--only", "counts")
    assert (done.exit_code, done.output.splitlines()[0]) == (0, "Method 'random:seed=3'")


@pytest.mark.parametrize(
    ("what", "title"), [("digits", "Data set 'digits'"), ("markdown", "Report 'markdown'")]
)
def test_data_sets_and_reports_are_checked_as_well(what: str, title: str) -> None:
    done = typed(what)
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"{title}\n  ok    described")


def test_backbones_are_sent_to_their_own_command(file: Path) -> None:
    file.write_text(BACKBONE)
    done = typed(str(file))
    assert done.exit_code == 2
    assert f"Backbones are proved on models: keeprate check-backbone {file}" in done.output
    assert f"Error: '{file}' offers nothing that is checked here." in done.output


def test_the_list_has_every_check_and_its_promise() -> None:
    done = typed("--list")
    assert done.exit_code == 0
    for check in CHECKS:
        assert f"  {check.name:12}  {check.promise}\n" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Error: Name a method, data set, metric or report, or a plugin FILE.py; or --list.\n"),
        (("nobody",), "Error: No method, data set, metric or report 'nobody'. "),
        (("missing.py",), "Error: No file 'missing.py'. Give the path of a plugin FILE.py, or"),
        (("random", "--only", "count"), "Error: No check 'count'. Did you mean 'counts'?\n"),
        (("random:sed=1",), "Error: No parameter 'sed' in method 'random'. Did you mean 'seed'?\n"),
        (("markdown:a=1",), "Error: A report has no parameters.\n"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = typed(*arguments)
    assert done.exit_code == 2
    assert done.output.startswith(said), done.output


MINE = """
from keeprate.testing import MethodConformance
class TestMine(MethodConformance): method = "mine.py"; only = ("counts", "batch", "no-images")
"""
FIXTURE = """
def test_mine(keeprate_method): keeprate_method("mine.py", only=["batch", "order"])
"""
LIGHT = """
import sys
def test_nothing_heavy_is_there():
    assert not {"torch", "timm", "numpy", "keeprate.testing.runner"} & set(sys.modules)
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    plugins = ["-p", "keeprate.testing.pytest_plugin", "-p", "no:cacheprovider"]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-q", "-W", "error", *arguments],
        cwd=folder,
        env=alone,
        capture_output=True,
        text=True,
    )


def test_the_plugin_imports_nothing_heavy_until_it_is_used(tmp_path: Path) -> None:
    (tmp_path / "test_light.py").write_text(LIGHT)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "--keeprate-check=FILE_OR_NAME" in run_pytest(tmp_path, "--help").stdout


@pytest.mark.slow
def test_a_test_class_a_fixture_and_an_option_make_tests_of_the_promises(file: Path) -> None:
    folder = file.parent
    (folder / "test_mine.py").write_text(MINE)
    (folder / "test_fixture.py").write_text(FIXTURE)
    wanted = "TestMine or test_mine or prefix or order or batch"
    done = run_pytest(folder, "--keeprate-check", "mine.py", "-k", wanted, "-vv", "-rN")
    assert done.returncode == 1
    results = dict(re.findall(r"^(\S+) (PASSED|FAILED)", done.stdout, flags=re.MULTILINE))
    assert results == {
        "test_fixture.py::test_mine": "FAILED",
        "test_mine.py::TestMine::test_promise[counts]": "PASSED",
        "test_mine.py::TestMine::test_promise[batch]": "FAILED",
        "test_mine.py::TestMine::test_promise[no-images]": "PASSED",
        "::keeprate[key-norm-prefix]": "PASSED",
        "::keeprate[key-norm-batch]": "FAILED",
        "::keeprate[key-norm-order]": "PASSED",
    }, done.stdout
    assert done.stdout.count("look at:  ") == 3
    assert "key-norm: 2 promises: 1 kept, 1 broken" in done.stdout
    assert "warning" not in done.stdout


@pytest.mark.system
def test_the_option_refuses_what_is_no_method(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--keeprate-check", "missing.py")
    assert done.returncode == 4
    assert "ERROR: --keeprate-check: No file 'missing.py'." in done.stderr
