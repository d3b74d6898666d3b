"""Mistakes of a plugin's author: one message each, with what is wrong, the line, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

import keeprate
from keeprate import KeeprateError, hookspecs
from keeprate.plugins.registry import load

HOOK = "\n@hookimpl\ndef keeprate_methods():\n    return [Mine]\n"
CLASS = "from keeprate import Method, hookimpl\n\nclass Mine(Method):\n    name = 'mine'\n"


@dataclass(frozen=True)
class Case:
    """A plugin file's code and what is said of it; `at` is the line in the message, 0 for none."""

    code: str
    said: str
    at: int
    remedy: str


HOOKS = "keeprate_methods, keeprate_backbones, keeprate_datasets, keeprate_metrics, "
HOOKS += "keeprate_reports, keeprate_engines, keeprate_strategies, keeprate_studies"

LOADING = {
    "an import error": Case(
        "\nimport nothing_of_this_name",
        "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        2,
        "Install what provides it into the environment that keeprate runs in.",
    ),
    "a public name that is not there": Case(
        "from keeprate import Methd",
        f"ImportError: cannot import name 'Methd' from 'keeprate' ({Path(keeprate.__file__)})",
        1,
        "Did you mean 'Method'?",
    ),
    "a syntax error": Case("x = 1\ndef f(:", "SyntaxError: invalid syntax", 2, ""),
    "sys.exit": Case(
        "import sys\n\nsys.exit(3)",
        "SystemExit: 3",
        3,
        "A plugin must not end the process: raise keeprate.KeeprateError instead.",
    ),
    "an exception far from the plugin": Case(
        "import json\n\n\ndef f():\n    return json.loads('')\n\n\nf()",
        "JSONDecodeError: Expecting value: line 1 column 1 (char 0)",
        5,
        "",
    ),
    "no hook at all": Case(
        "x = 1",
        "it offers nothing: no function is marked @keeprate.hookimpl",
        0,
        f"The hooks are {HOOKS}.",
    ),
    "a hook that is not marked": Case(
        f"{CLASS}\ndef keeprate_methods():\n    return [Mine]",
        "keeprate_methods is not marked as a hook",
        6,
        "Write @keeprate.hookimpl above it.",
    ),
    "a second hook that is not marked": Case(
        f"{CLASS}{HOOK}\n\ndef keeprate_reports():\n    return []",
        "keeprate_reports is not marked as a hook",
        11,
        "Write @keeprate.hookimpl above it.",
    ),
    "a misspelt hook": Case(
        f"{CLASS}\n@hookimpl\ndef keeprate_method():\n    return [Mine]",
        "unknown hook 'keeprate_method'",
        7,
        "Did you mean 'keeprate_methods'?",
    ),
    "a misspelt hook that is not marked": Case(
        f"{CLASS}\ndef keeprate_method():\n    return [Mine]",
        "unknown hook 'keeprate_method'",
        6,
        "Did you mean 'keeprate_methods'? Mark it with @keeprate.hookimpl.",
    ),
    "a hook of another name": Case(
        "from keeprate import hookimpl\n\n@hookimpl\ndef my_own():\n    return []",
        "unknown hook 'my_own'",
        4,
        f"Known: {HOOKS}.",
    ),
    "a hook with an argument": Case(
        f"{CLASS}\n@hookimpl\ndef keeprate_methods(config):\n    return [Mine]",
        "keeprate_methods has the argument 'config', and hooks are called without any",
        7,
        "Write def keeprate_methods().",
    ),
    "a list in place of a hook": Case(
        f"{CLASS}\nkeeprate_methods = [Mine]",
        "keeprate_methods is a list, not a function",
        0,
        "Write def keeprate_methods() with @keeprate.hookimpl above it, and return that.",
    ),
    "None": Case(
        f"{CLASS}{HOOK}".replace("return [", "_ = ["),
        "keeprate_methods returned None, not a list of classes",
        7,
        "Return a list, also of one. Does it lack a return?",
    ),
    "a single class": Case(
        f"{CLASS}{HOOK}".replace("[Mine]", "Mine"),
        "keeprate_methods returned the class Mine, not a list of classes",
        7,
        "Write return [Mine].",
    ),
    "a single instance": Case(
        f"{CLASS}{HOOK}".replace("[Mine]", "Mine()"),
        "keeprate_methods returned one Mine, not a list of classes",
        7,
        "Return a list, also of one.",
    ),
    "a number": Case(
        f"{CLASS}{HOOK}".replace("[Mine]", "3"),
        "keeprate_methods returned 3, not a list of classes",
        7,
        "Return a list, also of one.",
    ),
    "a single path": Case(
        "from keeprate import hookimpl\nfrom pathlib import Path\n"
        "@hookimpl\ndef keeprate_studies():\n    return Path('a.yaml')",
        "keeprate_studies returned one PosixPath, not a list of paths",
        4,
        "Return a list, also of one.",
    ),
    "instances": Case(
        f"{CLASS}{HOOK}".replace("[Mine]", "[Mine()]"),
        "keeprate_methods must return classes, not an instance of Mine",
        7,
        "Write Mine, not Mine(...).",
    ),
    "names": Case(
        f"{CLASS}{HOOK}".replace("[Mine]", "['mine']"),
        "keeprate_methods must return classes, not 'mine'",
        7,
        "Name the class.",
    ),
    "an exception in the hook": Case(
        f"{CLASS}{HOOK}".replace("return [Mine]", "return 1 / 0"),
        "ZeroDivisionError: division by zero",
        8,
        "",
    ),
    "a class without name": Case(
        f"{CLASS}{HOOK}".replace("name = 'mine'", "pass").replace("Mine", "KeyNorm"),
        "KeyNorm has no name",
        3,
        'Write name = "key-norm" in the class.',
    ),
    "a bad name": Case(
        f"{CLASS}{HOOK}".replace("'mine'", "'my method'"),
        "Mine.name must be text of letters, digits, '.', '_' and '-', not 'my method'",
        3,
        "It is what is written on the command line, and begins with a letter or a digit.",
    ),
    "another class": Case(
        f"{CLASS}{HOOK}".replace("Mine(Method)", "Mine"),
        "Mine is not a subclass of keeprate.Method",
        3,
        "Write class Mine(Method), from keeprate.Method.",
    ),
    "a class that is not abstract enough": Case(
        f"{CLASS}{HOOK}".replace("Method", "Report").replace("methods", "reports"),
        "Mine does not implement write",
        3,
        "Every report does: docs/plugins.md has an example.",
    ),
    "an engine that is none": Case(
        f"{CLASS}{HOOK}".replace("keeprate_methods", "keeprate_engines"),
        "Mine is not a subclass of keeprate.Engine",
        3,
        "Write class Mine(Engine), from keeprate.Engine.",
    ),
    "a parameter without type": Case(
        f"{CLASS}\n    def __init__(self, rate=0.5): ...\n{HOOK}",
        "Mine declares no type for its parameter rate",
        3,
        "Write its type: rate: float = 0.5.",
    ),
    "a parameter without type or default": Case(
        f"{CLASS}\n    def __init__(self, rate): ...\n{HOOK}",
        "Mine declares no type for its parameter rate",
        3,
        "Write its type: rate: float.",
    ),
    "a default of the wrong type": Case(
        f"{CLASS}\n    def __init__(self, rate: float = 'half'): ...\n{HOOK}",
        "Mine has the parameter rate: float with the default 'half', which is of another type",
        3,
        "Give it another default, or declare rate: float | str.",
    ),
    "a default of none of the types": Case(
        f"{CLASS}\n    def __init__(self, rate: float | None = 'half'): ...\n{HOOK}",
        "Mine has the parameter rate: float | None with the default 'half', "
        "which is of another type",
        3,
        "Give it another default, or declare rate: float | None | str.",
    ),
    "a default of None": Case(
        f"{CLASS}\n    def __init__(self, steps: tuple[int, ...] = None): ...\n{HOOK}",
        "Mine has the parameter steps: tuple[int, ...] with the default None, "
        "which is of another type",
        3,
        "Give it another default, or declare steps: tuple[int, ...] | None.",
    ),
    "a type that is not imported": Case(
        f"from __future__ import annotations\n{CLASS}\n"
        f"    def __init__(self, rate: Rate = 1): ...\n{HOOK}",
        "Mine has a parameter of unknown type: name 'Rate' is not defined",
        4,
        "Import the type where the plugin runs, not only under TYPE_CHECKING.",
    ),
    "a reserved parameter": Case(
        f"{CLASS}\n    def __init__(self, budget: float = 1.0): ...\n{HOOK}",
        "Mine has a parameter budget, a name keeprate.reduce keeps for itself",
        3,
        "Give it another name.",
    ),
    "a newer API": Case(
        "keeprate_api = 3\nfrom keeprate import SomethingOfTomorrow",
        f"it is made for API version 3, but keeprate {keeprate.__version__} has API version 2",
        0,
        "Update keeprate, or use an older version of the plugin.",
    ),
    "an older API": Case(
        f"keeprate_api = 1\n{CLASS}{HOOK}",
        f"it is made for API version 1, but keeprate {keeprate.__version__} has API version 2 "
        "and supports none before 2",
        0,
        "Update the plugin: docs/plugins.md says what changed.",
    ),
    "an API that is no number": Case(
        f"keeprate_api = '1'\n{CLASS}{HOOK}",
        "keeprate_api is '1', not a whole number",
        0,
        "Write keeprate_api = 2.",
    ),
}


@pytest.mark.sample(8)
@pytest.mark.parametrize("case", LOADING)
def test_a_plugin_that_fails_says_why_where_and_what_to_do(tmp_path: Path, case: str) -> None:
    path, wanted = tmp_path / "mine.py", LOADING[case]
    path.write_text(wanted.code)
    found = load([path], environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    (broken,) = found.broken
    end = f". {wanted.remedy}" if wanted.remedy else ""
    place = f" (line {wanted.at})" if wanted.at else ""
    assert str(broken) == f"mine ({path}) failed: {wanted.said}{place}{end}"
    assert broken.place == (f"{path}:{wanted.at}" if wanted.at else "")


def test_a_plugin_that_states_the_api_of_today_loads(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"keeprate_api = {hookspecs.API_VERSION}\n{CLASS}{HOOK}")
    found = load([path], strict=True, environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    assert found.plugins[-1].api == hookspecs.API_VERSION
    assert "mine" in found.methods


def test_a_name_offered_twice_by_one_plugin_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{CLASS}{HOOK}".replace("[Mine]", "[Mine, Mine]"))
    found = load([path], environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    with pytest.raises(KeeprateError) as refused:
        found.method("mine")
    assert str(refused.value) == (
        f"{path} offers the method name 'mine' twice. Rename or leave out one."
    )
