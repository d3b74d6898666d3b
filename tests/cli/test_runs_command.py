"""`keeprate runs`: what it lists, shows, removes and merges, and how it says what is wrong."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from keeprate.cli import keeprate
from keeprate.results.manage import known
from keeprate.results.store import Store
from results_factory import fill, make_backbone, make_run, put
from store_factory import begin, fail

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of five finished runs, a failed and a begun one."""
    store = fill(tmp_path_factory.mktemp("filled"))
    fail(store, make_run("broken", 30), "ValueError: 3 heads")
    begin(store, 17, make_run("begun", 30), make_run("broken", 30))
    return store.folder


@pytest.fixture
def command(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`keeprate runs` in a folder with a copy of that store."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(filled, "runs/first")
    return lambda *arguments, input=None: CliRunner().invoke(
        keeprate, ["runs", *arguments], input=input
    )


def named(method: str) -> str:
    """The id of the only run of a method in runs/first."""
    [found] = [name for name in known(Store("runs/first")) if name.startswith(method)]
    return found


class TestList:
    def test_every_run_has_a_line(self, command: Command) -> None:
        done = command("list", "runs/first")
        assert (done.exit_code, done.stderr) == (0, "")
        heading, *lines = done.stdout.splitlines()
        assert " ".join(heading.split()) == "Id Run Model Data Cost Top-1 % State Started"
        assert [line.split()[0] for line in lines] == known(Store("runs/first"))
        told = {line.split()[0]: " ".join(line.split()[1:]) for line in lines}
        assert told[named("full")] == (
            "full digits_vit digits 0.0432 GMACs (100.0%) 95.50 finished 2026-01-02 03:04"
        )
        assert told[named("broken")] == (
            "broken 30@3 digits_vit digits failed: 17 images 2026-01-02 03:04"
        )
        assert told[named("begun")] == "partial: 17 images"

    def test_figures_end_under_one_another(self, command: Command) -> None:
        lines = command("list", "runs/first").stdout.splitlines()
        ends = {line.index(")") for line in lines if ")" in line}
        assert ends == {lines[0].index("Cost") + 3}
        assert all(line == line.rstrip() for line in lines)

    def test_as_json(self, command: Command) -> None:
        lines = json.loads(command("list", "runs/first", "--json").stdout)
        found = {line["id"]: line for line in lines}
        assert list(found) == known(Store("runs/first"))
        result = Store("runs/first").read(named("full"))
        assert found[named("full")] == {
            "id": result.id,
            "state": "finished",
            "images": 200,
            "label": "full",
            "model": "digits_vit",
            "data": "digits",
            "macs": result.measured.macs.total,
            "share": 1.0,
            "top1": result.measured.metrics["top1"],
            "started": "2026-01-02T03:04:05+00:00",
            "error": None,
        }
        assert found[named("broken")]["error"] == "ValueError: 3 heads"
        assert found[named("begun")]["state"] == "partial"

    def test_budgets_and_choices_tell_runs_apart(self, command: Command) -> None:
        for choice in (True, False):
            put(Store("runs/first"), make_run("x", 45, budget="80%", parameters={"a": choice}))
        said = command("list", "runs/first").stdout
        assert "  x a=true 80%  " in said
        assert "  x a=false 80%  " in said

    def test_a_finished_run_has_no_line_for_an_older_failure(self, command: Command) -> None:
        fail(Store("runs/first"), make_run("full"))
        assert command("list", "runs/first").stdout.count(named("full")) == 1

    def test_what_cannot_be_read_is_a_warning(self, command: Command) -> None:
        full = named("full")
        Path("runs/first", f"{full}.json").write_text('{"format_version": 0}')
        Path("runs/first/failed/old.json").write_text('{"format_version": 0}')
        done = command("list", "runs/first")
        assert done.exit_code == 0
        assert full not in done.stdout
        for name, line in zip((full, "failed/old"), done.stderr.splitlines(), strict=True):
            assert line.startswith(f"Warning: {name}.json: has format_version 0, ")

    def test_an_empty_folder(self, command: Command) -> None:
        Path("runs/empty").mkdir()
        assert command("list", "runs/empty").stdout == "No run in runs/empty.\n"
        assert command("list", "runs/empty", "--json").stdout == "[]\n"

    def test_on_a_terminal_it_is_a_table(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("COLUMNS", "200")
        keeprate(["runs", "list", "runs/first"], standalone_mode=False)
        assert "─" in terminal.getvalue()
        assert all(name in terminal.getvalue() for name in known(Store("runs/first")))

    def test_any_encoding_will_do(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        put(Store("runs/first"), make_run("tome", 30, backbone=make_backbone("[b]vit é[/b]")))
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, "ascii"))
        keeprate(["runs", "list", "runs/first"], standalone_mode=False)
        sys.stdout.flush()
        assert b"[b]vit ?[/b]" in written.getvalue()


class TestShow:
    def test_a_finished_run(self, command: Command) -> None:
        full = named("full")
        lines = command("show", "runs/first", full[:6]).stdout.splitlines()
        assert lines[:2] == [full, "  state: finished"]
        for line in (
            "    method: full",
            "      method: " + "ab" * 32,
            "      weights_sha256: " + "5e" * 32,
            "      image_size: 32, 32",
            "        mean: 0.5, 0.5, 0.5",
            "    budget: -",
            "      top1: 0.955",
            "      torch: 2.15.0",
        ):
            assert line in lines

    def test_every_field_of_a_result_is_shown(self, command: Command) -> None:
        result = Store("runs/first").read(named("full"))
        said = command("show", "runs/first", "full").stdout
        parts = (result, result.run, result.measured, result.environment, result.run.data)
        for part in (*parts, result.run.backbone, result.measured.macs):
            for field in type(part).model_fields:
                assert f" {field}:" in said

    def test_a_failed_run_with_its_traceback(self, command: Command) -> None:
        lines = command("show", "runs/first", "broken").stdout.splitlines()
        assert lines[:2] == [named("broken"), "  state: failed, 17 images saved"]
        start = lines.index("  traceback:")
        assert lines[start - 1] == "  error: ValueError: 3 heads"
        assert lines[start + 1 : start + 4] == [
            "    Traceback (most recent call last):",
            "      ...",
            "    ValueError: 3 heads",
        ]
        assert "    stages: block=3 keep=30" in lines

    def test_a_begun_run(self, command: Command) -> None:
        said = command("show", "runs/first", "begun").stdout
        assert said == f"{named('begun')}\n  state: partial, 17 images saved\n"

    def test_several_runs(self, command: Command) -> None:
        said = command("show", "runs/first", "tome*").stdout
        assert said.count("  state: finished") == 2

    def test_what_is_not_whole_is_explained(self, command: Command) -> None:
        full = named("full")
        Path("runs/first", f"{full}.json").write_text("{")
        done = command("show", "runs/first", "full")
        assert done.exit_code == 2
        assert done.stderr.startswith(f"Error: runs/first/{full}.json: EOF while parsing")
        Path("runs/first", f"{full}.json").unlink()
        assert command("show", "runs/first", "full").stderr == (
            f"Error: {full} is not whole: `keeprate runs remove` takes away what is left.\n"
        )


class TestRemove:
    def test_it_asks_first(self, command: Command) -> None:
        broken, before = named("broken"), known(Store("runs/first"))
        done = command("remove", "runs/first", "broken", input="n\n")
        assert done.exit_code == 1
        assert f"Remove 1 run from runs/first?\n  {broken}\n" in done.stdout
        assert command("remove", "runs/first", "broken", input="").exit_code == 1
        assert known(Store("runs/first")) == before
        done = command("remove", "runs/first", "broken", input="y\n")
        assert done.stdout.endswith("Removed 1 run from runs/first.\n")
        assert known(Store("runs/first")) == [name for name in before if name != broken]

    def test_unless_told_not_to(self, command: Command) -> None:
        done = command("remove", "runs/first", "tome-*", "random-*", "--yes")
        assert done.stdout == "Removed 4 runs from runs/first.\n"
        left = [name.split("-")[0] for name in known(Store("runs/first"))]
        assert left == ["begun", "broken", "full"]

    def test_runs_that_failed(self, command: Command) -> None:
        fail(Store("runs/first"), make_run("full"))
        before, broken = known(Store("runs/first")), named("broken")
        assert command("remove", "runs/first", "--failed", "--yes").exit_code == 0
        assert known(Store("runs/first")) == [name for name in before if name != broken]
        said = command("remove", "runs/first", "--failed").stdout
        assert said == "Nothing to remove in runs/first.\n"

    def test_all_runs_but_no_other_file(self, command: Command) -> None:
        for name in ("table.csv", "notes.json", "embeddings.npy"):
            Path("runs/first", name).write_text("")
        assert command("remove", "runs/first", "--all", "--yes").exit_code == 0
        left = {path.name for path in Path("runs/first").rglob("*") if path.is_file()}
        assert left == {"table.csv", "notes.json", "embeddings.npy", ".lock"}

    def test_the_unpruned_run_that_others_need_is_a_warning(self, command: Command) -> None:
        full = named("full")
        put(Store("runs/first"), make_run("random", 30, precision="bfloat16"))
        done = command("remove", "runs/first", "full", "tome*", "--yes")
        said = f"Warning: {full} is the unpruned run that 2 runs of runs/first need.\n"
        assert done.stderr == said
        assert full not in known(Store("runs/first"))

    def test_one_that_none_needs_is_not(self, command: Command) -> None:
        assert command("remove", "runs/first", "--all", "--yes").stderr == ""


class TestMerge:
    def test_it_tells_what_became_of_every_run(self, command: Command) -> None:
        fill(Path("runs/second"), {"tome": (40, 30)})
        put(Store("runs/second"), make_run("tome", 40), accuracy=0.5)
        done = command("merge", "runs/all", "runs/first", "runs/second")
        assert done.exit_code == 0
        assert done.stdout == (
            "Copied 6 runs to runs/all.\n"
            "Copied 1 run that failed.\n"
            "Kept 2 runs that runs/all had before.\n"
        )
        tome = make_run("tome", 40).id
        assert done.stderr == (
            f"Warning: {tome} of runs/second: 84 of 200 rows differ, 84 in the prediction; "
            "kept as it is in runs/all (--prefer-source takes the other).\n"
        )

    def test_it_takes_the_source_s_if_told_to(self, command: Command) -> None:
        fill(Path("runs/second"), {"tome": (40,)})
        tome = put(Store("runs/second"), make_run("tome", 40), accuracy=0.5)
        done = command("merge", "runs/first", "runs/second", "--prefer-source")
        assert done.stdout == (
            "Copied 0 runs to runs/first.\nReplaced 1 run.\n"
            "Kept 1 run that runs/first had before.\n"
        )
        assert done.stderr.endswith("differ, 84 in the prediction; replaced.\n")
        assert Store("runs/first").read(tome.id) == tome

    def test_what_cannot_be_read_is_a_warning(self, command: Command) -> None:
        full = named("full")
        Path("runs/first", f"{full}.json").write_text('{"format_version": 0}')
        done = command("merge", "runs/all", "runs/first")
        assert done.exit_code == 0
        assert done.stderr.startswith(
            f"Warning: left out: runs/first/{full}.json: has format_version 0, "
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "runs/frist"), "No results folder 'runs/frist'. Did you mean 'runs/first'?"),
        (("list", "file"), "file is a file, not a folder of results."),
        (("show", "nowhere/x", "full"), "No results folder 'nowhere/x'. `keeprate compare` makes"),
        (("show", "runs/first", "ful-0"), "No run 'ful-0'. "),
        (("show", "runs/first", "tome"), "2 runs begin with 'tome': "),
        (("remove", "runs/first"), "Nothing to remove: name runs by their id, or say --failed or"),
        (("remove", "runs/first", "x*"), "No run 'x*'. Known: "),
        (
            ("merge", "runs/all"),
            "Nothing to merge: name the folders to copy from after the target.",
        ),
        (("merge", "runs/all", "runs/frist"), "No results folder 'runs/frist'. Did you mean"),
        (("merge", "runs/first", "runs/first"), "runs/first cannot be merged into itself: name"),
        (("merge", "file", "runs/first"), "Cannot write to file: File exists. A file has the name"),
    ],
)
def test_mistakes_are_one_line_and_status_2(
    arguments: tuple[str, ...], said: str, command: Command
) -> None:
    Path("file").write_text("")
    done = command(*arguments)
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {said}")
    assert done.stderr.count("\n") == 1


def test_shared_options_stand_anywhere(command: Command) -> None:
    assert "Traceback" in command("list", "runs/frist", "--traceback").stderr
