"""A finished run is looked up once, and what is found there is used instead of read again."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import polars as pl
import pytest

from keeprate.evaluation import runner
from keeprate.evaluation.events import Note
from keeprate.request import Request
from keeprate.results.reuse import find, take_over
from keeprate.results.store import Store
from keeprate.study.build import prepare
from keeprate.study.comparison import Comparison
from results_factory import make_run, put
from run_factory import RUNS, request, rows_of, run, same
from store_factory import fail, logits

_counting: list[tuple[Path, Counter[str]]] = []


def _count(event: str, arguments: tuple[Any, ...]) -> None:
    if not _counting or event != "open" or arguments[1] not in ("r", "rb"):
        return
    (folder, counter), path = _counting[-1], Path(str(arguments[0]))
    if path.is_relative_to(folder):
        counter[path.suffix] += 1


sys.addaudithook(_count)


@contextmanager
def counted(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the files below a folder that are opened for reading, by suffix."""
    counter = Counter[str]()
    # polars opens files by code of its own, which Python's audit does not see
    for name in ("read_parquet_schema", "read_parquet"):
        reader = getattr(pl, name)

        def read(*arguments: Any, reader: Any = reader, **options: Any) -> Any:
            counter[".parquet"] += 1
            return reader(*arguments, **options)

        patch.setattr(pl, name, read)
    _counting.append((folder, counter))
    yield counter
    _counting.clear()


def test_a_finished_run_is_looked_up_once_and_its_logits_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(RUNS[:1], limit=4)
    first = run(tmp_path / "a", asked)
    assert len(first.finished) == 2
    with counted(tmp_path, monkeypatch) as opened:
        assert len(run(tmp_path / "a", asked).reused) == 2
    assert opened == {".json": 2, ".parquet": 2, ".npy": 1}
    with counted(tmp_path, monkeypatch) as opened:
        assert len(run(tmp_path / "b", asked).reused) == 2
    # looked for in its own folder, found beside, and copied with its rows
    assert opened == {".json": 2 + 2, ".parquet": 2 + 2, ".npy": 1}
    assert same(rows_of(tmp_path / "b"), rows_of(tmp_path / "a"))


def test_a_run_taken_over_has_its_logits_and_no_failure_left(tmp_path: Path) -> None:
    here, beside = Store(tmp_path / "a"), Store(tmp_path / "b")
    result = put(beside, make_run("full"))
    logits(beside, result, 2.0)
    fail(here, result.run)
    ids = beside.rows(result.id)["sample"].to_list()
    found = find(here, result.id, ids)
    assert found is not None
    take_over(here, found, result.run, ids)
    assert here.find(result.id) == result
    np.testing.assert_array_equal(here.read_logits(result.id, ids), found.logits)
    assert here.failures() == ([], [])


def test_a_run_without_the_logits_that_are_needed_is_not_found(tmp_path: Path) -> None:
    here, beside = Store(tmp_path / "a"), Store(tmp_path / "b")
    result = put(here, make_run("full"))
    assert find(here, result.id) is not None
    assert find(here, result.id, ["test/0000"]) is None
    put(beside, make_run("full"))
    logits(beside, result)
    found = find(here, result.id, ["test/0000"])
    assert found is not None
    assert found.source.folder == tmp_path / "b"


def test_a_long_preparation_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(wanted: Request) -> Comparison:
        assert told.wait(20)
        return prepare(wanted)

    told, heard = Event(), []

    def listen(event: object) -> None:
        heard.append(event)
        told.set()

    monkeypatch.setattr(runner, "_PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(runner, "prepare", slow)
    run(tmp_path / "store", request(RUNS[:1], limit=4), listen=listen)
    assert isinstance(heard[0], Note)
    assert "read once" in heard[0].text
