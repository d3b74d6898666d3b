"""Stores are merged: nothing is lost, nothing is half there, what differs is told."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from keeprate.errors import KeeprateError
from keeprate.results.manage import merge
from keeprate.results.records import Result
from keeprate.results.store import Store
from results_factory import fill, make_result, make_rows, make_run, put
from store_factory import contents, fail, ids, logits


def spoil(path: Path) -> None:
    """Overwrite the rows themselves; what stands at the end of the file still describes them."""
    content = bytearray(path.read_bytes())
    content[4:2000] = bytes(1996)
    path.write_bytes(content)


SPOILED: dict[str, Callable[[Store, Result], Any]] = {
    "json": lambda store, run: store.path_of(run.id, ".json").write_text("{"),
    "rows": lambda store, run: store.path_of(run.id, ".parquet").write_bytes(b"PAR1"),
    "data of rows": lambda store, run: spoil(store.path_of(run.id, ".parquet")),
    "number of rows": lambda store, run: (
        store.rows(run.id).head(3).write_parquet(store.path_of(run.id, ".parquet"))
    ),
    "logits": lambda store, run: store.path_of(run.id, ".npy").write_bytes(b""),
    "logits of others": lambda store, run: store.write_logits(run.id, ["a"], np.zeros((1, 2))),
}


KILLED_AT_STEP = """
import os, signal, sys
from keeprate.results.store import Store
from keeprate.results.manage import merge

left = int(sys.argv[3])

def counted(function):
    def step(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return step

os.fsync, os.replace = counted(os.fsync), counted(os.replace)
merge(Store(sys.argv[2]), [Store(sys.argv[1])])
print("finished")
"""


def killed_at(step: int, source: Store, target: Store) -> str:
    arguments = [str(source.folder), str(target.folder), str(step)]
    command = [sys.executable, "-c", KILLED_AT_STEP, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def test_what_is_new_is_copied_with_rows_and_logits(tmp_path: Path) -> None:
    one, two = fill(tmp_path / "1", {"tome": (40,)}), fill(tmp_path / "2", {"random": (50,)})
    logits(one, one.results()[0][0])
    target = Store(tmp_path / "new/all")
    report = merge(target, [one, two])
    assert ids(target) == sorted({*ids(one), *ids(two)})
    assert contents(target.folder) == contents(two.folder) | contents(one.folder)
    assert (len(report.ids("copied")), report.ids("kept"), report.problems) == (
        3,
        [ids(one)[0]],
        (),
    )
    assert report.conflicts == []


def test_merging_again_changes_nothing(tmp_path: Path) -> None:
    one = fill(tmp_path / "1")
    target = Store(tmp_path / "all")
    merge(target, [one])
    before = contents(target.folder)
    report = merge(target, [one])
    assert contents(target.folder) == before
    assert report.ids("kept") == ids(one)
    assert report.ids("copied") == report.conflicts == []


def test_sources_are_not_changed(tmp_path: Path) -> None:
    one = fill(tmp_path / "1")
    fail(one, make_run("broken", 30))
    before = contents(one.folder)
    merge(Store(tmp_path / "all"), [one])
    assert contents(one.folder) == before
    assert not (one.folder / ".lock").exists()


@pytest.mark.parametrize("prefer_source", [False, True])
def test_other_rows_under_one_id_are_a_conflict(prefer_source: bool, tmp_path: Path) -> None:
    target, source = Store(tmp_path / "all"), Store(tmp_path / "1")
    mine = put(target, make_run(keep=40), accuracy=0.5)
    logits(target, mine)
    rows = make_rows(make_run(keep=40), accuracy=0.5)
    changed = rows.with_columns(
        kl=pl.when(pl.col("sample") < "test/0003").then(9.0).otherwise("kl"),
        prediction=pl.when(pl.col("sample") == "test/0001").then(99).otherwise("prediction"),
    )
    theirs = make_result(mine.run, changed)
    source.write(theirs, changed)
    report = merge(target, [source], prefer_source=prefer_source)
    [conflict] = report.conflicts
    assert conflict.id == mine.id
    assert conflict.source == source.folder
    assert conflict.what == ("replaced" if prefer_source else "kept")
    assert conflict.difference == "3 of 200 rows differ, 1 in the prediction"
    assert target.rows(mine.id).equals(changed if prefer_source else rows)
    assert target.read(mine.id) == (theirs if prefer_source else mine)
    assert target.path_of(mine.id, ".npy").exists() != prefer_source


def test_rows_in_another_order_are_the_same(tmp_path: Path) -> None:
    target, source = fill(tmp_path / "all"), Store(tmp_path / "1")
    result = target.results()[0][0]
    source.write(result, target.rows(result.id).reverse())
    report = merge(target, [source])
    assert report.ids("kept") == [result.id]
    assert report.conflicts == []


def test_rows_of_other_images_are_a_conflict(tmp_path: Path) -> None:
    target, source = fill(tmp_path / "all"), Store(tmp_path / "1")
    result = target.results()[0][0]
    source.write(result, target.rows(result.id).with_columns(sample="x" + pl.col("sample")))
    assert merge(target, [source]).conflicts[0].difference == "its rows are of other images"


def test_logits_that_are_missing_are_added(tmp_path: Path) -> None:
    target, source = fill(tmp_path / "all"), fill(tmp_path / "1")
    result = source.results()[0][0]
    logits(source, result, 3.0)
    assert merge(target, [source]).conflicts == []
    assert target.read_logits(result.id).mean() == 3.0
    logits(source, result, 4.0)
    merge(target, [source])
    assert target.read_logits(result.id).mean() == 3.0


@pytest.mark.parametrize("how", SPOILED)
def test_what_cannot_be_read_is_named_and_left_out(how: str, tmp_path: Path) -> None:
    source, target = fill(tmp_path / "1"), Store(tmp_path / "all")
    spoiled, *good = source.results()[0]
    SPOILED[how](source, spoiled)
    report = merge(target, [source])
    assert ids(target) == report.ids("copied") == [result.id for result in good]
    [problem] = report.problems
    assert problem.startswith(f"{source.folder}/{spoiled.id}.")
    assert "\n" not in problem


@pytest.mark.parametrize("how", ["json", "rows", "data of rows"])
def test_what_cannot_be_read_in_the_target_is_replaced(how: str, tmp_path: Path) -> None:
    source, target = fill(tmp_path / "1"), fill(tmp_path / "all")
    spoiled = target.results()[0][0]
    SPOILED[how](target, spoiled)
    assert merge(target, [source]).ids("copied") == [spoiled.id]
    assert target.rows(spoiled.id).equals(source.rows(spoiled.id))


def test_failures_are_copied_of_runs_that_are_finished_nowhere(tmp_path: Path) -> None:
    one, two, target = fill(tmp_path / "1"), fill(tmp_path / "2"), fill(tmp_path / "all")
    nowhere, there, elsewhere, known_already = (
        make_run(name, 30) for name in ("nowhere", "there", "elsewhere", "known")
    )
    for run in (nowhere, there, elsewhere, known_already):
        fail(one, run)
    put(target, there)
    put(two, elsewhere)
    before = fail(target, known_already, "KeyError: first")
    fail(target, elsewhere)
    report = merge(target, [one, two])
    assert report.ids("failure") == [nowhere.id]
    failures = {failure.id: failure for failure in target.failures()[0]}
    assert failures.keys() == {nowhere.id, known_already.id}
    assert failures[known_already.id] == before


def test_a_store_is_not_merged_into_itself(tmp_path: Path) -> None:
    store = fill(tmp_path / "1")
    (tmp_path / "link").symlink_to(store.folder)
    with pytest.raises(KeeprateError, match=r"link cannot be merged into itself: name another"):
        merge(store, [Store(tmp_path / "link")])


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.system
def test_killed_at_any_step_every_run_is_whole(tmp_path: Path) -> None:
    source = fill(tmp_path / "source", {"tome": (40,)})
    for result in source.results()[0]:
        logits(source, result)
    for step in range(40):
        target = Store(tmp_path / str(step))
        if killed_at(step, source, target) == "finished\n":
            break
        results, problems = target.results()
        assert problems == []
        for result in results:
            assert target.rows(result.id).height == result.measured.images
    assert step > 6
    merge(target, [source])
    assert ids(target) == ids(source)
