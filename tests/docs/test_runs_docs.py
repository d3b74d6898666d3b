"""What docs/runs.md tells people to type works, and what it says of a folder is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from keeprate.cli import keeprate
from keeprate.cli.commands.runs import runs
from keeprate.results.manage import known
from keeprate.results.store import Store
from paths import DOCS
from results_factory import fill, make_run
from store_factory import begin, fail, logits

PAGE = (DOCS / "runs.md").read_text(encoding="utf-8")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second", "old"):
        store = fill(Path("runs") / name)
        logits(store, store.results()[0][0])
        fail(store, make_run("broken", 30))
        begin(store, 17, make_run("broken", 30))


@pytest.mark.slow
@pytest.mark.usefixtures("folders")
def test_every_command_runs_in_the_order_of_the_page() -> None:
    typed = re.findall(r"^\$ keeprate (.*)$", PAGE, flags=re.MULTILINE)
    assert len(typed) >= 10
    for command in typed:
        done = CliRunner().invoke(keeprate, shlex.split(command))
        assert done.exit_code == 0, f"{command}\n{done.output}"
    assert known(Store("runs/old")) == []
    assert not any(name.startswith(("random", "broken")) for name in known(Store("runs/first")))
    assert len(known(Store("runs/all"))) == 6
    assert Path("runs/all/table.md").is_file()


@pytest.mark.usefixtures("folders")
def test_the_listing_looks_as_shown() -> None:
    [shown] = re.findall(r"```text\n(.*?)\n```", PAGE, flags=re.DOTALL)
    said = CliRunner().invoke(keeprate, ["runs", "list", "runs/first"]).stdout
    assert said.split("\n")[0].split() == shown.split("\n")[0].split()


@pytest.mark.usefixtures("folders")
def test_every_file_of_a_folder_is_on_the_page() -> None:
    told = set(re.findall(r"`([\w<>./-]+)`", re.findall(r"\| file.*?\n\n", PAGE, re.DOTALL)[0]))
    ids = "|".join(known(Store("runs/first")))
    files = {str(path.relative_to("runs/first")) for path in Path("runs/first").rglob("*.*")}
    named = {re.sub(ids, "<id>", re.sub(r"^partial/.*", "partial/", each)) for each in files}
    assert named | {".lock", ".lock-owner"} == told


def test_every_command_of_the_group_is_on_the_page() -> None:
    said = {command.split()[1] for command in re.findall(r"^\$ keeprate (runs .*)$", PAGE, re.M)}
    assert said == set(runs.commands)
