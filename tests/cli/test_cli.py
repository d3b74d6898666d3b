"""The command line: what it shows, and what it says when something is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from keeprate import KeeprateError, __version__, cli
from keeprate.cli import COMMANDS, CommandEntry, keeprate
from keeprate.cli.options import plugin_options
from keeprate.plugins import registry as plugins
from keeprate.plugins.kinds import KINDS

pytestmark = pytest.mark.usefixtures("own_folder", "own_registry")

PLUGIN = """
from keeprate import Method, hookimpl

class Mine(Method):
    '''Keeps what I like.'''
    name = "mine"
    def __init__(self, rate: float = 0.5, tags: tuple[str, ...] = ("a", "b")) -> None:
        self.rate, self.tags = rate, tags

@hookimpl
def keeprate_methods():
    return [Mine]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    return str(path)


@pytest.fixture
def broken(tmp_path: Path) -> str:
    path = tmp_path / "broken.py"
    path.write_text("import nothing_of_this_name")
    return str(path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(keeprate, arguments, prog_name="keeprate")


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make `keeprate list` a command that raises `error`."""

    @click.command("list")
    @plugin_options
    def fails() -> None:
        raise error

    monkeypatch.setattr(cli, "fails", fails, raising=False)
    monkeypatch.setattr(cli, "import_module", lambda name, package: cli)
    monkeypatch.setitem(COMMANDS, "list", CommandEntry("listing", "fails", ""))


def test_version() -> None:
    assert run("--version").output == f"keeprate, version {__version__}\n"


def test_help_names_every_command() -> None:
    said = run("--help").output
    for name, entry in COMMANDS.items():
        assert f"  {name} " in said
        assert entry.help in " ".join(said.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_the_shared_options(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0, result.output
    for option in ("--plugin FILE.py", "--strict-plugins", "--traceback"):
        assert option in result.output


def test_an_unknown_command_is_a_usage_error() -> None:
    result = run("lisst")
    assert result.exit_code == 2
    assert "No such command 'lisst'" in result.stderr


def test_the_module_runs_the_same_command() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "keeprate", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"keeprate, version {__version__}\n"


def test_a_users_mistake_is_one_line_and_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeeprateError("No method 'tom'. Did you mean 'tome'?"))
    result = run("list")
    assert result.exit_code == 2
    assert result.stderr == "Error: No method 'tom'. Did you mean 'tome'?\n"


def test_an_argument_that_is_not_utf8_is_refused_before_anything_runs() -> None:
    done = run("compare", "--data", "text-file:/data/caf\udce9.csv")
    assert done.exit_code == 2
    assert done.stderr == (
        "Error: 'text-file:/data/caf\\xe9.csv' is not UTF-8 text: rename the file or folder, or "
        "give a link to it that has another name.\n"
    )


def test_an_error_can_name_what_is_not_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeeprateError("no caf\udce9"))
    assert run("list").stderr == "Error: no caf\\xe9\n"


def test_any_other_error_is_one_line_and_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("it\nbroke"))
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: RuntimeError: it broke (Run again with --traceback to see where.)\n"
    )


@pytest.mark.parametrize("arguments", [("--traceback", "list"), ("list", "--traceback")])
@pytest.mark.parametrize(("error", "status"), [(KeeprateError("no"), 2), (ValueError("no"), 1)])
def test_a_traceback_is_shown_on_request(
    monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], error: Exception, status: int
) -> None:
    failing(monkeypatch, error)
    result = run(*arguments)
    assert result.exit_code == status
    assert "Traceback (most recent call last)" in result.stderr
    assert "in fails" in result.stderr


def test_an_interrupt_is_no_error_message(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr.strip() == "Aborted!"


def test_list_shows_every_kind() -> None:
    result = run("list")
    assert result.exit_code == 0
    for heading in ("Methods", "Backbones", "Data sets", "Reports", "Studies", "Plugins"):
        assert f"{heading}\n" in result.output
    for kind in KINDS:
        for offer in getattr(plugins.registry(), kind).values():
            assert f"  {offer.name}  (keeprate {__version__})\n" in result.output
            assert offer.description in result.output


@pytest.mark.parametrize(
    "arguments",
    [("--plugin", "{}", "list", "methods"), ("list", "methods", "--plugin", "{}")],
    ids=["before", "after"],
)
def test_a_plugin_can_be_named_before_and_after_the_command(
    plugin: str, arguments: tuple[str, ...]
) -> None:
    result = run(*(each.format(plugin) for each in arguments))
    assert result.exit_code == 0
    assert (
        f"  mine  ({plugin})\n"
        "      Keeps what I like.\n"
        "      rate: float = 0.5\n"
        "      tags: tuple[str, ...] = ('a', 'b')\n"
    ) in result.output


def test_list_as_json(plugin: str) -> None:
    result = run("list", "--json", "--plugin", plugin)
    shown = json.loads(result.stdout)
    assert set(shown) == {*KINDS, "studies", "plugins"}
    (mine,) = [each for each in shown["methods"] if each["name"] == "mine"]
    assert mine == {
        "name": "mine",
        "description": "Keeps what I like.",
        "parameters": [
            {"name": "rate", "type": "float", "default": 0.5, "required": False},
            {
                "name": "tags",
                "type": "tuple[str, ...]",
                "default": ["a", "b"],
                "required": False,
            },
        ],
        "origin": plugin,
        "version": "",
    }


def test_list_plugins_says_what_each_offers_and_which_failed(plugin: str, broken: str) -> None:
    result = run("list", "plugins", "--plugin", plugin, "--plugin", broken)
    assert result.exit_code == 0
    assert f"  mine  ({plugin})\n      mine\n" in result.stdout
    cause = (
        "ModuleNotFoundError: No module named 'nothing_of_this_name' (line 1). "
        "Install what provides it into the environment that keeprate runs in."
    )
    assert f"  broken  ({broken})\n      failed: {cause}\n" in result.stdout
    assert result.stderr == f"Warning: plugin broken ({broken}) failed: {cause}\n"


def test_list_in_a_terminal_is_a_table(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from keeprate.cli.commands import list as listing

    monkeypatch.setattr(listing, "_is_terminal", lambda: True)
    result = run("list", "methods", "--plugin", plugin)
    assert result.exit_code == 0
    assert "Parameters" in result.stdout
    assert "mine" in result.stdout


def test_a_broken_plugin_is_fatal_on_request(broken: str) -> None:
    result = run("list", "reports", "--strict-plugins", "--plugin", broken)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: Plugin broken ({broken}) failed: ModuleNotFoundError")


def test_a_plugin_file_that_is_not_there_is_a_usage_error() -> None:
    result = run("list", "--plugin", "absent.py")
    assert result.exit_code == 2
    assert "Invalid value for '--plugin': File 'absent.py' does not exist." in result.stderr


def test_the_traceback_of_a_broken_plugin_can_be_seen(broken: str) -> None:
    result = run("--traceback", "list", "reports", "--plugin", broken)
    assert result.exit_code == 0
    assert 'broken.py", line 1' in result.stderr


def test_the_plugin_file_of_the_working_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "keeprate_plugins.py").write_text(PLUGIN)
    assert "  mine  (" in run("list", "methods").output
