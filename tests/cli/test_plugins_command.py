"""`keeprate plugins` shows what is loaded; `keeprate plugins doctor` names all that is wrong."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from keeprate import __version__, cli
from keeprate.hookspecs import API_VERSION
from keeprate.plugins import registry as plugins
from keeprate.plugins.doctor_checks import store

GOOD = """
    from __future__ import annotations

    from typing import TYPE_CHECKING

    from keeprate import Method, hookimpl

    if TYPE_CHECKING:
        from torch import Tensor

        from keeprate import Attention, Stage, Tokens

    keeprate_api = 2
    __version__ = "2.1"


    class Mine(Method):
        '''Keeps what I like.'''

        name = "{name}"

        def __init__(self, rate: float = 0.5) -> None:
            self.rate = rate

        def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
            return tokens.size


    @hookimpl
    def keeprate_methods() -> list[type[Method]]:
        return [Mine]
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "_active", [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEEPRATE_PLUGINS", raising=False)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.keeprate, ["plugins", *arguments], prog_name="keeprate")


def write(path: str, code: str = GOOD, **replaced: str) -> str:
    Path(path).parent.mkdir(exist_ok=True)
    text = textwrap.dedent(code).lstrip().replace("{name}", replaced.pop("name", "mine"))
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    Path(path).write_text(text)
    return str(Path(path).resolve())


def installed(name: str, entry: str, version: str = "3.0", metadata: str = "") -> None:
    """Write a distribution with one entry point into the folder `site`."""
    info = Path("site") / f"{name}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(head + metadata)
    (info / "entry_points.txt").write_text(f"[keeprate]\n{entry}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    for name in ("elsewhere", "other"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def findings(*arguments: str) -> tuple[int, list[dict[str, object]]]:
    done = run("doctor", "--json", *arguments)
    assert done.stderr == ""
    return done.exit_code, json.loads(done.stdout)["found"]


def said(found: list[dict[str, object]]) -> list[str]:
    kinds = {True: "Problem", False: "Note"}
    return [f"{kinds[bool(f['is_problem'])]}: {f['said']} > {f['remedy']}" for f in found]


def test_plugins_are_shown_with_origin_version_api_and_all_they_offer() -> None:
    path = write("mine.py")
    done = run("--plugin", path)
    assert done.exit_code == 0
    assert done.stdout.endswith(
        f"mine  ({path} 2.1)\n    API version: {API_VERSION}\n    file: {path}\n    methods: mine\n"
    )
    assert f"reports  (keeprate {__version__})\n    API version: {API_VERSION}\n" in done.stdout
    for kind in ("methods", "backbones", "datasets", "reports", "engines", "studies"):
        assert f"    {kind}: " in done.stdout


def test_plugins_as_json_hold_the_failed_ones_too() -> None:
    path, broken = write("mine.py"), write("broken.py", "\n1 / 0")
    done = run("--json", "--plugin", path, "--plugin", broken)
    *_, mine, failed = json.loads(done.stdout)
    assert mine == {
        "name": "mine",
        "origin": path,
        "version": "2.1",
        "file": path,
        "api": API_VERSION,
        "offers": {"methods": ["mine"]},
        "failed": None,
    }
    assert failed["failed"] == {
        "cause": "ZeroDivisionError: division by zero",
        "place": f"{broken}:1",
        "remedy": "",
    }
    assert "Warning: plugin broken" in done.stderr


def test_names_that_clash_are_shown_under_both_plugins() -> None:
    one, two = write("one.py"), write("two.py")
    done = run("--plugin", one, "--plugin", two)
    assert done.exit_code == 0
    assert done.stdout.count("    methods: mine\n") == 2


def test_the_doctor_says_so_when_all_is_well() -> None:
    write("keeprate_plugins.py")
    done = run("doctor")
    assert (done.exit_code, done.stderr) == (0, "")
    first, device, loaded, last = done.stdout.splitlines()
    assert first.startswith("python 3.")
    assert f"keeprate {__version__}, torch " in first
    assert "timm " in first
    assert "lightning " in first
    assert first.endswith(f"; API version {API_VERSION}")
    assert device.startswith("device: ")
    assert loaded.startswith("8 plugins loaded: ")
    assert last == "no problems, no notes."


@pytest.mark.slow
def test_one_failure_hides_no_other() -> None:
    files = [
        write("first.py", "import nothing_of_this_name"),
        write("second.py", "def f(:"),
        write("ends.py", "import os\nos._exit(7)"),
        write("one.py"),
        write("two.py"),
    ]
    done = run("doctor", *[part for file in files for part in ("--plugin", file)])
    assert done.exit_code == 1
    assert [line for line in done.stdout.splitlines() if line.startswith("Problem")] == [
        f"Problem: plugin ends ({files[2]}): importing it ends the process (status 7). "
        "A plugin must leave the process alone.",
        f"Problem: plugin first ({files[0]}): ModuleNotFoundError: No module named "
        f"'nothing_of_this_name' ({files[0]}:1). Install what provides it into the environment "
        "that keeprate runs in.",
        f"Problem: plugin second ({files[1]}): SyntaxError: invalid syntax ({files[1]}:1). "
        "keeprate list plugins --traceback shows how it got there.",
        f"Problem: methods mine: Two plugins offer a method named 'mine': {files[3]} and "
        f"{files[4]}. Rename or leave out one.",
    ]
    assert done.stdout.endswith("4 problems, no notes.\n")


@pytest.mark.usefixtures("site")
def test_packages_made_for_another_keeprate_are_named() -> None:
    write("site/elsewhere.py")
    wanted = "Requires-Dist: keeprate<0.1\nRequires-Dist: nothing-here>=2\n"
    wanted += "Requires-Dist: nowhere; extra == 'plots'\nProvides-Extra: plots\n"
    installed("elsewhere", "good = elsewhere", metadata=wanted)
    status, found = findings()
    assert status == 1
    assert said(found) == [
        f"Problem: it requires keeprate<0.1, and keeprate {__version__} is installed > "
        "Install a version of elsewhere that is made for it: pip install -U elsewhere.",
        "Problem: it requires nothing-here>=2, and nothing-here is not installed > "
        "pip install 'nothing-here>=2'.",
        "Note: its extra 'plots' is not there: nowhere > "
        "What needs it says so. To have it: pip install 'elsewhere[plots]'.",
    ]


@pytest.mark.usefixtures("site")
def test_plugins_of_one_name_and_files_loaded_twice_are_named() -> None:
    path = write("site/elsewhere.py")
    write("site/other.py", name="other")
    installed("elsewhere", "good = elsewhere")
    installed("another", "good = other")
    status, found = findings("--plugin", path, "--plugin", path)
    assert status == 1
    assert said(found) == [
        f"Problem: Two plugins offer a method named 'mine': elsewhere 3.0 and {path} > "
        "Rename or leave out one.",
        f"Problem: {path} is loaded twice, by good (elsewhere 3.0) and elsewhere ({path}) > "
        "Leave out one of the two.",
        "Problem: two installed plugins have this name, of elsewhere 3.0 and another 3.0 > "
        "Uninstall one, or rename its entry point: KEEPRATE_PLUGINS cannot tell them apart.",
        f"Note: {path} is named 2 times; it is loaded once > "
        "Name it once, by --plugin or in KEEPRATE_PLUGINS.",
    ]


@pytest.mark.usefixtures("site")
def test_what_the_environment_leaves_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    write("site/elsewhere.py")
    installed("elsewhere", "good = elsewhere")
    monkeypatch.setenv("KEEPRATE_PLUGINS", "god, absent.py")
    status, found = findings()
    assert status == 1
    assert said(found) == [
        "Problem: no installed plugin has this name > Did you mean 'good'? A file's name ends in "
        ".py.",
        "Problem: no such file > Look at the path, which starts in the working folder.",
        'Note: is in force: "god,absent.py"; installed plugins that do not load: '
        "good (elsewhere 3.0) > Unset it to load all: unset KEEPRATE_PLUGINS.",
    ]


def test_what_could_be_better_is_a_note() -> None:
    replaced = {
        "keeprate_api = 2\n": "import time\ntime.sleep(0.6)\n",
        "    '''Keeps what I like.'''\n": "",
        "tokens: Tokens": "tokens",
    }
    path = write("mine.py", **replaced)
    status, found = findings("--plugin", path)
    assert status == 0
    slow, *others = said(found)
    assert slow.startswith("Note: importing it takes 0.6 s, more than 0.5 s > Import inside ")
    assert others == [
        "Note: it does not state the API version it is made for > "
        "Write keeprate_api = 2 in it, so that a later keeprate can tell.",
        "Note: Mine has no docstring > Its first sentence is what keeprate list shows.",
        "Note: Mine.score has no type annotations > docs/plugins.md has an example; a type "
        "checker then finds mistakes early.",
    ]
    assert [each["place"] for each in found[2:]] == [f"{path}:17", f"{path}:24"]


@pytest.mark.system
def test_heavy_libraries_are_named() -> None:
    path = write("mine.py", **{"keeprate_api": "import torch\n\nkeeprate_api"})
    _, found = findings("--plugin", path)
    (slow,) = said(found)
    assert re.search(r"importing it takes \d+\.\d s \(.*torch.*\), more than 0\.5 s", slow)


def test_methods_that_do_not_keep_their_parameters_are_named() -> None:
    lost = write("lost.py", **{"self.rate = rate": "pass"})
    raising = write("raising.py", name="raising", **{"self.rate = rate": "self.x = self.rate"})
    status, found = findings("--plugin", lost, "--plugin", raising)
    assert status == 1
    assert said(found) == [
        "Problem: Mine must keep its parameter rate as an attribute of that name > "
        "Write self.rate = rate in __init__.",
        "Problem: it cannot be made with its defaults: AttributeError: 'Mine' object has no "
        "attribute 'rate' > Mend __init__, or give the parameters no defaults.",
    ]
    assert [each["place"] for each in found] == [f"{lost}:16", f"{raising}:22"]


def test_a_store_that_cannot_be_written_is_a_problem(tmp_path: Path) -> None:
    Path("file").write_text("")
    status, found = findings("--runs", "file/runs")
    assert status == 1
    assert said(found) == [
        f"Problem: {tmp_path / 'file'} is not a folder > "
        "Name another with --runs FOLDER, or change its permissions."
    ]
    assert list(store(tmp_path)) == []
    assert list(store(tmp_path / "new" / "folder")) == []
    assert not (tmp_path / "new").exists()


def test_the_doctor_is_a_command_of_its_own() -> None:
    assert isinstance(cli.keeprate.get_command(None, "plugins"), click.Group)
    assert "doctor" in run("--help").stdout
