"""Plugins: found, loaded alone, named when they fail, refused when they clash."""

from __future__ import annotations

import inspect
import sys
import textwrap
from pathlib import Path

import pytest

from keeprate import hookspecs
from keeprate.errors import KeeprateError
from keeprate.plugins import registry as plugins
from keeprate.plugins.kinds import KINDS, RESERVED, Registered
from keeprate.plugins.registry import Registry, load

METHOD = """
from keeprate import Method, hookimpl

class Mine(Method):
    '''Keeps what I like. And so on.'''

    name = "{name}"

    def __init__(self, rate: float = 0.5) -> None:
        self.rate = rate

@hookimpl
def keeprate_methods():
    return [Mine]
"""


def write(path: Path, code: str) -> Path:
    path.write_text(textwrap.dedent(code))
    return path


def alone(files: list[Path], directory: Path, only: str | None = "") -> Registry:
    environ = {} if only is None else {"KEEPRATE_PLUGINS": only}
    return load(files, environ=environ, directory=directory)


def test_the_built_ins_are_entry_points_of_this_distribution(tmp_path: Path) -> None:
    found = alone([], tmp_path)
    assert {each.name for each in found.plugins} == set(KINDS)
    assert {each.origin for each in found.plugins} == {f"keeprate {found.plugins[0].version}"}
    assert found.broken == ()
    for kind in KINDS:
        assert getattr(found, kind), kind


def test_a_plugin_file_offers_its_method_beside_the_built_in_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "my-method.py", METHOD.format(name="mine"))
    found = alone([path], tmp_path)
    offer = found.methods["mine"]
    assert (offer.origin, offer.version, offer.plugin) == (str(path), "", "my-method")
    assert offer.description == "Keeps what I like."
    assert found.method("mine") is offer.cls
    assert len(found.methods) > 1


def test_a_plugin_file_can_state_its_version(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", METHOD.format(name="mine") + "\n__version__ = '2.1'\n")
    assert alone([path], tmp_path).methods["mine"].version == "2.1"


def test_files_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths.append(write(tmp_path / name / "plugin.py", METHOD.format(name=name)))
    found = alone(paths, tmp_path)
    assert {"one", "two"} < set(found.methods)
    assert found.method("one") is not found.method("two")


def test_a_file_named_twice_is_loaded_once(tmp_path: Path) -> None:
    path = write(tmp_path / "keeprate_plugins.py", METHOD.format(name="mine"))
    (tmp_path / "sub").mkdir()
    found = alone([path, tmp_path / "sub" / ".." / path.name], tmp_path, only=None)
    assert [each.origin for each in found.plugins].count(str(path)) == 1
    assert "mine" in found.methods


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (None, {"local"}),
        ("", set()),
        ("keeprate_plugins.py", {"local"}),
        ("other.py", {"other"}),
        (" other.py , keeprate_plugins.py", {"other", "local"}),
    ],
)
def test_the_environment_limits_what_loads(
    tmp_path: Path, only: str | None, expected: set[str]
) -> None:
    write(tmp_path / "keeprate_plugins.py", METHOD.format(name="local"))
    write(tmp_path / "other.py", METHOD.format(name="other"))
    named = write(tmp_path / "named.py", METHOD.format(name="named"))
    found = alone([named], tmp_path, only)
    outside = {each.name for each in found.methods.values() if each.origin.endswith(".py")}
    assert outside == expected | {"named"}
    assert set(found.reports) == set(alone([], tmp_path).reports)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A distribution `elsewhere 3.0` with the entry points `good` and `bad`."""
    info = tmp_path / "elsewhere-3.0.dist-info"
    info.mkdir()
    write(info / "METADATA", "Metadata-Version: 2.1\nName: elsewhere\nVersion: 3.0\n")
    write(info / "entry_points.txt", "[keeprate]\ngood = elsewhere_good\nbad = elsewhere_bad\n")
    write(tmp_path / "elsewhere_good.py", METHOD.format(name="good-one"))
    write(tmp_path / "elsewhere_bad.py", "import nothing_of_this_name")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_installed_plugins_are_found_by_entry_point(installed: Path) -> None:
    found = alone([], installed, only=None)
    offer = found.methods["good-one"]
    assert (offer.plugin, offer.origin, offer.version) == ("good", "elsewhere 3.0", "3.0")
    assert [str(each) for each in found.broken] == [
        "bad (elsewhere 3.0) failed: ModuleNotFoundError: No module named 'nothing_of_this_name' "
        f"({installed / 'elsewhere_bad.py'}:1). Install what provides it into the environment that "
        "keeprate runs in."
    ]


def test_installed_plugins_can_be_chosen_by_name(installed: Path) -> None:
    assert "good-one" not in alone([], installed, only="").methods
    chosen = alone([], installed, only="good,none-such")
    assert "good-one" in chosen.methods
    assert [str(each) for each in chosen.broken] == [
        "none-such (KEEPRATE_PLUGINS) failed: no installed plugin has this name. Known: backbones, "
        "bad, datasets, engines, good, methods, metrics, reports, strategies. A file's name "
        "ends in .py."
    ]


BROKEN = {  # test_author_errors.py has the others, word for word
    "syntax": ("def f(:", "SyntaxError: invalid syntax (line 1)"),
    "raises": ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck (line 1)"),
    "exits": ("raise SystemExit", "SystemExit (line 1). A plugin must not end the process: "),
    "empty": ("x = 1", "it offers nothing: no function is marked @keeprate.hookimpl. "),
    "late": (
        "from keeprate import hookimpl\n@hookimpl\ndef keeprate_methods(): return 1 / 0",
        "ZeroDivisionError: division by zero (line 3)",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_named_and_the_others_work(tmp_path: Path, case: str) -> None:
    code, cause = BROKEN[case]
    broken = write(tmp_path / "broken.py", code)
    working = write(tmp_path / "working.py", METHOD.format(name="working"))
    heard: list[plugins.BrokenPlugin] = []
    found = load(
        [broken, working],
        environ={"KEEPRATE_PLUGINS": ""},
        directory=tmp_path,
        on_broken=heard.append,
    )
    assert "working" in found.methods
    assert len(found.broken) == 1
    assert heard == list(found.broken)
    said = str(found.broken[0])
    assert said.startswith(f"broken ({broken}) failed: ")
    assert cause in said
    assert "\n" not in said


@pytest.mark.parametrize("case", BROKEN)
def test_strict_makes_a_broken_plugin_fatal(tmp_path: Path, case: str) -> None:
    broken = write(tmp_path / "broken.py", BROKEN[case][0])
    with pytest.raises(KeeprateError, match=r"Plugin broken \(.*broken\.py\) failed: ") as error:
        load([broken], strict=True, environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    assert error.value.__cause__ is not None


def test_a_missing_file_and_another_kind_of_file_are_broken_plugins(tmp_path: Path) -> None:
    text = write(tmp_path / "notes.txt", "hello")
    found = alone([tmp_path / "absent.py", text], tmp_path)
    assert [each.cause for each in found.broken] == [
        "no such file. Look at the path, which starts in the working folder.",
        "not a Python file (.py)",
    ]


def test_a_file_that_fails_leaves_no_module_behind(tmp_path: Path) -> None:
    before = set(sys.modules)
    path = write(tmp_path / "broken_when_imported.py", "raise ValueError")
    assert alone([path], tmp_path).broken
    assert not [name for name in set(sys.modules) - before if name.startswith("broken_when")]


def test_two_plugins_offering_one_name_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one.py", METHOD.format(name="same"))
    two = write(tmp_path / "two.py", METHOD.format(name="same"))
    found = alone([one, two], tmp_path)
    with pytest.raises(KeeprateError) as error:
        found.method("same")
    assert str(error.value) == (
        f"Two plugins offer a method named 'same': {one} and {two}. Rename or leave out one."
    )
    assert found.reports


def test_a_clash_does_not_hide_which_plugins_failed(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.py", METHOD.format(name="same")) for n in ("one", "two")]
    broken = write(tmp_path / "broken.py", "1 / 0")
    assert [each.name for each in alone([*paths, broken], tmp_path).broken] == ["broken"]


def test_a_built_in_name_cannot_be_taken(tmp_path: Path) -> None:
    built_in = next(iter(alone([], tmp_path).methods.values()))
    path = write(tmp_path / "taker.py", METHOD.format(name=built_in.name))
    with pytest.raises(KeeprateError, match=f"{built_in.origin} and .*taker.py"):
        alone([path], tmp_path).method(built_in.name)


def test_unknown_names_are_explained(tmp_path: Path) -> None:
    found = alone([write(tmp_path / "a.py", METHOD.format(name="norm-score"))], tmp_path)
    with pytest.raises(KeeprateError) as error:
        found.method("norm-scor")
    assert str(error.value) == "No method 'norm-scor'. Did you mean 'norm-score'?"
    for kind, look_up in [
        ("backbone", found.backbone),
        ("data set", found.dataset),
        ("report", found.report),
    ]:
        with pytest.raises(KeeprateError, match=f"No {kind} '~'. Known: "):
            look_up("~")


def test_a_plugin_is_asked_only_for_the_kinds_looked_at(tmp_path: Path) -> None:
    code = "from keeprate import hookimpl\n@hookimpl\ndef keeprate_methods(): return 1 / 0"
    heard: list[plugins.BrokenPlugin] = []
    path = write(tmp_path / "late.py", code)
    found = load([path], environ={}, directory=tmp_path, on_broken=heard.append)
    assert found.reports
    assert not heard
    assert found.methods
    assert len(heard) == 1


def test_the_registry_of_the_process_can_be_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_active", [])
    mine = alone([], tmp_path)
    plugins.activate(mine)
    assert plugins.registry() is mine


def test_the_registry_of_the_process_is_loaded_once_and_warns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "_active", [])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KEEPRATE_PLUGINS", raising=False)
    write(tmp_path / "keeprate_plugins.py", "raise RuntimeError('no luck')")
    with pytest.warns(
        UserWarning, match="Plugin keeprate_plugins .* failed: RuntimeError: no luck"
    ):
        first = plugins.registry()
    assert plugins.registry() is first


def test_reserved_names_are_the_arguments_of_reduce() -> None:
    from keeprate import reduce

    arguments = set(inspect.signature(reduce).parameters) - {"parameters"}
    assert arguments <= RESERVED


@pytest.mark.parametrize(
    ("written", "first"),
    [
        (
            "Keeps tokens, e.g. those of Kim et al. (2022). Fast.",
            "Keeps tokens, e.g. those of Kim et al. (2022).",
        ),
        ("One\n    line over two. Then\n\n    more.", "One line over two."),
        ("No full stop", "No full stop"),
        ("", ""),
    ],
)
def test_the_description_is_the_first_sentence(written: str, first: str) -> None:
    cls = type("Thing", (), {"__doc__": written})
    assert Registered("thing", cls, "plugin", "origin", "1").description == first


def test_every_hook_has_a_kind_but_that_of_studies() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("keeprate_")}
    assert {kind.hook for kind in KINDS.values()} == hooks - {"keeprate_studies"}
