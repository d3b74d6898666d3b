"""The store keeps what was asked and what came out, and explains what it cannot read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keeprate.errors import KeeprateError
from keeprate.results.records import Failure, RunInfo
from keeprate.results.store import Store
from results_factory import (
    fill,
    make_environment,
    make_result,
    make_rows,
    make_run,
    put,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs" / "first")


def test_a_result_and_its_rows_come_back_as_they_were_written(store: Store) -> None:
    run = make_run(keep=40)
    result = put(store, run)
    assert store.find(result.id) == result
    assert store.read(result.id) == result
    assert store.rows(result.id).equals(make_rows(run))
    assert store.rows(result.id, ["correct"]).columns == ["correct"]
    assert store.results() == ([result], [])


@pytest.mark.parametrize("method", ["../../etc/x", "<script>", "a b", "é" * 200, "."])
def test_the_id_is_fit_for_a_file_name(method: str, store: Store) -> None:
    result = put(store, make_run(method))
    assert store.path_of(result.id, ".json").parent == store.folder
    assert len(result.id) < 100
    assert store.results() == ([result], [])


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), values))
def test_any_parameters_survive_json_and_keep_the_id(parameters: dict[str, object]) -> None:
    run = make_run(parameters=parameters)
    again = RunInfo.model_validate_json(run.model_dump_json())
    assert again == run
    assert again.id == run.id


def test_a_parameter_that_is_a_file_has_no_part_in_the_id() -> None:
    """Its content counts with the code; where it lies, and what the run says of it, do not."""
    here, there = (
        make_run(parameters={"weights": f"/{folder}/w.pth", "scale": 2}, files=("weights",))
        for folder in ("here", "there")
    )
    assert here.id == there.id
    assert here != there
    assert make_run(parameters={"weights": "/here/w.pth"}).id != make_run().id
    assert make_run(parameters={"scale": 2}, files=()).id == make_run(parameters={"scale": 2}).id


def test_infinite_parameters_are_kept_as_text_that_float_reads() -> None:
    run = make_run(parameters={"tolerance": math.inf, "range": [-math.inf, math.nan]})
    assert run.parameters == {"tolerance": "inf", "range": ["-inf", "nan"]}


@pytest.mark.parametrize("kl", [math.inf, math.nan])
def test_figures_that_are_not_finite_come_back(kl: float, store: Store) -> None:
    result = make_result(make_run(), make_rows(make_run()))
    measured = result.measured.model_copy(update={"metrics": {"kl": kl}})
    result = result.model_copy(update={"measured": measured})
    store.write(result, make_rows(make_run()))
    text = store.path_of(result.id, ".json").read_text()
    json.loads(text, parse_constant=pytest.fail)
    found = store.read(result.id).measured.metrics["kl"]
    assert found == kl or (math.isnan(found) and math.isnan(kl))


def test_results_cannot_be_changed_or_given_unknown_fields() -> None:
    run = make_run()
    with pytest.raises(ValidationError):
        run.seed = 3
    with pytest.raises(ValidationError):
        make_run(keep_rate=0.5)


def test_rows_that_do_not_fit_are_refused(store: Store) -> None:
    rows = make_rows(make_run())
    result = make_result(make_run(), rows)
    with pytest.raises(ValueError, match="199 rows for 200 images"):
        store.write(result, rows.head(199))
    with pytest.raises(ValueError, match="must have the columns"):
        store.write(result, rows.drop("confidence"))
    with pytest.raises(ValueError, match="must have the columns"):
        store.write(result, rows.with_columns(pl.lit("text").alias("mine")))
    assert store.results() == ([], [])


def test_an_unknown_run_is_explained(store: Store) -> None:
    result = put(store, make_run())
    with pytest.raises(KeeprateError, match=f"^No run 'tme'. Known: {result.id}.$"):
        store.read("tme")
    with pytest.raises(KeeprateError, match=r"tme\.parquet: "):
        store.rows("tme")


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def cut(path: Path, left_out: int) -> None:
    path.write_bytes(path.read_bytes()[:-left_out])


def turn_into_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


SPOILED: dict[str, Callable[[Path, Path], object]] = {
    "version": lambda path, rows: change(path, format_version=1),
    "no version": lambda path, rows: path.write_text("[1, 2]"),
    "cut": lambda path, rows: cut(path, 300),
    "empty": lambda path, rows: path.write_bytes(b""),
    "binary": lambda path, rows: path.write_bytes(bytes(range(256))),
    "field": lambda path, rows: change(path, run={"method": 3}),
    "name": lambda path, rows: path.rename(path.with_name("other.json")),
    "folder": lambda path, rows: turn_into_folder(path),
    "no rows": lambda path, rows: rows.unlink(),
    "cut rows": lambda path, rows: cut(rows, 20),
    "empty rows": lambda path, rows: rows.write_bytes(b""),
    "other rows": lambda path, rows: make_rows(make_run()).drop("confidence").write_parquet(rows),
}

SAYINGS = {
    "version": "has format_version 1, this keeprate reads 2 to 3",
    "no version": "has format_version None, this keeprate reads 2 to 3",
    "cut": "EOF while parsing",
    "empty": "EOF while parsing",
    "binary": "",
    "field": "run.method: Input should be a valid string",
    "name": "not the one it is named after",
    "folder": "Is a directory",
    "no rows": ".parquet, are missing",
    "cut rows": ".parquet, are broken",
    "empty rows": ".parquet, are broken",
    "other rows": ".parquet, lack confidence",
}


@pytest.mark.parametrize("how", SPOILED)
def test_what_cannot_be_read_is_named_and_skipped_and_not_called_finished(
    how: str, store: Store
) -> None:
    good = put(store, make_run("random", 40))
    spoiled = put(store, make_run("tome", 40))
    SPOILED[how](*(store.path_of(spoiled.id, suffix) for suffix in (".json", ".parquet")))
    found, problems = store.results()
    assert found == [good]
    assert len(problems) == 1
    assert problems[0].startswith(f"{'other' if how == 'name' else spoiled.id}.json: ")
    assert SAYINGS[how] in problems[0]
    assert "\n" not in problems[0]
    assert store.find(spoiled.id) is None
    with pytest.raises(KeeprateError):
        store.read(spoiled.id)


def test_writing_again_replaces(store: Store) -> None:
    put(store, make_run(), accuracy=0.5)
    better = put(store, make_run(), accuracy=0.9)
    assert store.read(better.id) == better
    assert store.rows(better.id)["correct"].mean() == better.measured.metrics["top1"]


def test_a_folder_that_is_not_there_holds_nothing(store: Store) -> None:
    assert store.results() == ([], [])
    assert store.find("x") is None
    assert not store.folder.exists()


def test_a_store_of_many_runs_keeps_their_order(tmp_path: Path) -> None:
    store = fill(tmp_path, {"tome": (60, 50, 40, 30), "random": (60, 50)})
    ids = [result.id for result in store.results()[0]]
    assert ids == sorted(ids)
    assert len(ids) == 7


class TestLogits:
    def test_come_back_as_they_were_and_in_the_order_asked_for(self, store: Store) -> None:
        logits = np.arange(12, dtype=np.float32).reshape(3, 4)
        store.write_logits("full-1", ["b", "a", "ü"], logits)
        np.testing.assert_array_equal(store.read_logits("full-1"), logits)
        np.testing.assert_array_equal(store.read_logits("full-1", ["ü", "a"]), logits[[2, 1]])
        assert store.read_logits("full-1").dtype == np.float32

    def test_are_no_run(self, store: Store) -> None:
        store.write_logits("full-1", ["a"], np.zeros((1, 2)))
        assert store.results() == ([], [])
        assert store.find("full-1") is None

    def test_of_other_samples_are_explained(self, store: Store) -> None:
        store.write_logits("full-1", ["a"], np.zeros((1, 2)))
        with pytest.raises(KeeprateError, match=r"full-1\.npy: no logits of sample 'b'\.$"):
            store.read_logits("full-1", ["b"])

    @pytest.mark.parametrize("content", [None, b"", b"\x93NUMPY\x01\x00", b"nonsense"])
    def test_that_cannot_be_read_are_explained(self, content: bytes | None, store: Store) -> None:
        if content is not None:
            store.folder.mkdir(parents=True)
            store.path_of("full-1", ".npy").write_bytes(content)
        with pytest.raises(KeeprateError, match=r"full-1\.npy: "):
            store.read_logits("full-1")

    def test_need_one_id_per_row(self, store: Store) -> None:
        with pytest.raises(ValueError, match="2 sample ids"):
            store.write_logits("full-1", ["a", "b"], np.zeros((1, 2)))


class TestFailures:
    def failure(self, store: Store, method: str = "broken") -> Failure:
        failure = Failure(
            run=make_run(method),
            error="ValueError: no",
            traceback="Traceback:\n  ...\nValueError: no\n",
            environment=make_environment(),
        )
        store.write_failure(failure)
        return failure

    def test_come_back_as_they_were(self, store: Store) -> None:
        both = [self.failure(store, "a"), self.failure(store, "b")]
        assert store.failures() == (both, [])

    def test_are_no_finished_run(self, store: Store) -> None:
        failure = self.failure(store)
        assert store.results() == ([], [])
        assert store.find(failure.id) is None

    def test_are_forgotten(self, store: Store) -> None:
        kept, gone = self.failure(store, "a"), self.failure(store, "b")
        store.forget_failure(gone.id)
        store.forget_failure(gone.id)
        assert store.failures() == ([kept], [])

    def test_that_cannot_be_read_are_named(self, store: Store) -> None:
        kept, spoiled = self.failure(store, "a"), self.failure(store, "b")
        path = store.folder / "failed" / f"{spoiled.id}.json"
        change(path, format_version=1)
        said = f"failed/{path.name}: has format_version 1, this keeprate reads 2 to 3"
        assert store.failures() == ([kept], [said])
