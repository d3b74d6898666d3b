"""Finished runs of folders, read as frames, without a model library."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import keeprate
from keeprate.results.row_schemas import ROW_SCHEMA
from keeprate.results.store import Store
from paths import DOCS
from results_factory import fill, make_backbone, make_run, put


def test_a_folder_is_read_without_torch(tmp_path: Path) -> None:
    fill(tmp_path)
    code = (
        "import sys, keeprate\n"
        "table = keeprate.load(sys.argv[1])\n"
        "assert 'torch' not in sys.modules and 'altair' not in sys.modules\n"
        "print(len(table), table.rows().height)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["5", "1000"]


def test_several_folders_are_one_table_and_a_run_that_is_in_two_counts_once(tmp_path: Path) -> None:
    fill(tmp_path / "one")
    other = fill(tmp_path / "two")
    new = put(other, make_run("tome", 30, backbone=make_backbone("larger", "aa" * 32)))
    table = keeprate.load(tmp_path / "one", str(tmp_path / "two"))
    assert len(table) == 6
    assert len(table.groups) == 2
    assert table.rows(new.id).equals(other.rows(new.id))


def test_the_rows_of_all_runs_name_their_run(tmp_path: Path) -> None:
    store = fill(tmp_path)
    table = keeprate.load(tmp_path)
    rows = table.rows()
    assert rows.columns[0] == "run"
    for run in table.frame["id"]:
        assert rows.filter(pl.col("run") == run).drop("run").equals(store.rows(run))


def test_the_page_names_every_column_of_the_rows(tmp_path: Path) -> None:
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`(\w+)`", page))
    assert set(ROW_SCHEMA) | {"correct", "correct_top5", "agrees", "kl", "run"} <= told


@pytest.mark.parametrize("folders", [[], ["nowhere"], ["empty"]])
def test_a_folder_without_runs_is_one_line(folders: list[str], tmp_path: Path) -> None:
    Store(tmp_path / "empty").prepare()
    with pytest.raises(keeprate.KeeprateError, match=r"folder|No finished run"):
        keeprate.load(*(tmp_path / folder for folder in folders))


def test_a_notebook_shows_no_folder_of_the_machine(tmp_path: Path) -> None:
    store = fill(tmp_path)
    for name in ("a", "b"):
        put(store, make_run("dtem", 30, parameters={"file": f"/srv/quokka/{name}.pt"}))
    page = keeprate.load(tmp_path)._repr_html_()
    assert "file=b.pt" in page
    assert "quokka" not in page
