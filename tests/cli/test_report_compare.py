"""`keeprate report --compare`: what changed between two stores, and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keeprate.analysis.changes import changes
from keeprate.cli import keeprate
from keeprate.results.store import Store
from results_factory import fill, make_backbone, make_run, put

Command = Callable[..., Result]


@pytest.fixture
def stores(tmp_path: Path) -> tuple[Store, Store]:
    return fill(tmp_path / "a"), fill(tmp_path / "b")


@pytest.fixture
def command(stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.chdir(stores[0].folder.parent)
    return lambda *arguments: CliRunner().invoke(keeprate, ["report", *arguments])


def test_equal_stores_have_no_change(stores: tuple[Store, Store]) -> None:
    found = changes(*stores)
    assert found.unchanged == 5
    assert found.only_before == found.only_after == found.other_rows == found.other_identity == ()


def test_runs_in_one_store_only_are_told(stores: tuple[Store, Store]) -> None:
    before, after = stores
    put(before, make_run("gone", 30))
    put(after, make_run("new", 30))
    found = changes(before, after)
    assert [run.label for run in found.only_before] == ["gone"]
    assert [run.label for run in found.only_after] == ["new"]
    assert found.unchanged == 5


def test_the_same_run_with_other_rows_says_which_and_how_much(
    stores: tuple[Store, Store],
) -> None:
    put(stores[1], make_run("tome", 40), accuracy=0.5)
    (changed,) = changes(*stores).other_rows
    assert changed.before.run_id == changed.after.run_id == make_run("tome", 40).id
    assert changed.reasons[0].startswith("of 200 rows differ: prediction in ")
    assert changed.difference is not None
    assert changed.difference.distinguishable
    assert changed.difference.difference.value < -20
    assert changed.difference.text.startswith("worse by ")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sources": {"method": "cd" * 32}}, "code of the method"),
        ({"backbone": make_backbone(weights_sha256="ff" * 32)}, "weights"),
        ({"stages": make_run("x", 39).stages}, "stages"),
    ],
)
def test_what_was_asked_for_alike_says_what_part_of_its_identity_differs(
    change: dict[str, object], reason: str, stores: tuple[Store, Store]
) -> None:
    before, after = stores
    put(before, make_run("m", 40), accuracy=0.9)
    put(after, make_run("m", 40, **change), accuracy=0.9)
    found = changes(before, after)
    (changed,) = found.other_identity
    assert changed.reasons == (reason,)
    assert changed.difference is not None
    assert changed.difference.difference.value == 0
    assert found.only_before == found.only_after == ()


def test_the_command_prints_and_writes_it(command: Command, stores: tuple[Store, Store]) -> None:
    put(stores[1], make_run("tome", 40), accuracy=0.5)
    put(stores[1], make_run("<script>|%_&#", 30))
    stores[0].path_of("old-1", ".json").write_text('{"format_version": 1}')
    done = command("a", "--compare", "b")
    assert done.exit_code == 0, done.output
    assert "4 runs are in both with the same rows." in done.stdout
    assert "The same run with other rows" in done.stdout
    assert "Only in b" in done.stdout
    assert "Warning: a: old-1.json: has format_version 1" in done.stderr
    text = Path("b/changes.md").read_text(encoding="utf-8")
    assert "worse by" in text
    assert "<script>" not in text
    content = json.loads(Path("b/changes.report.json").read_text(encoding="utf-8"))
    assert (content["version"], content["unchanged"], len(content["other_rows"])) == (1, 4, 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--compare", "c"), "No results folder 'c'. Did you mean 'a' or 'b'?"),
        (
            ("--compare", "b", "--against", "tome"),
            "--compare goes with none of --against, --budget, --metric, --method, --model, "
            "--label, --order and --colour: drop them.",
        ),
        (("--against", "nobody"), "No method or series 'nobody' here: there are full, random, "
                                  "tome."),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(command: Command, arguments: tuple[str, ...], said: str) -> None:
    done = command("a", *arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {said.split('.')[0]}")
    assert done.stderr.count("\n") == 1
