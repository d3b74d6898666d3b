"""The images methods disagree on most, from made-up rows."""

from __future__ import annotations

import subprocess
import sys
from math import inf, nan
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keeprate import KeeprateError
from keeprate.analysis.sections.disagreement_ranking import disagreements, ranked
from keeprate.results.store import Store
from results_factory import make_data, make_result, make_rows, make_run


def rows(predictions: list[int], kl: list[float], names: str = "abcdef") -> pl.DataFrame:
    samples = list(names[: len(predictions)])
    return pl.DataFrame({"sample": samples, "prediction": predictions, "kl": kl})


def test_more_different_predictions_come_first_then_the_spread() -> None:
    found = ranked(
        [
            rows([1, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.0, 0.9]),
            rows([1, 2, 1, 1, 1], [0.4, 0.2, 0.3, 0.0, 0.1]),
            rows([1, 3, 2, 1, 1], [0.2, 0.2, 0.3, 0.0, 0.5]),
        ]
    )
    assert found["sample"].to_list() == ["b", "c", "e", "a", "d"]
    assert found["different"].to_list() == pytest.approx([1, 2 / 3, 0, 0, 0])
    assert found["spread"].to_list() == pytest.approx([0, 0, 0.8, 0.3, 0])


def test_the_order_of_rows_and_runs_does_not_matter() -> None:
    one = rows([1, 2, 1, 5], [0.1, 0.2, 0.3, 0.4])
    other = rows([1, 1, 2, 4], [0.3, 0.2, 0.2, 0.5])
    found = ranked([one, other])
    assert found["sample"].to_list() == ["c", "d", "b", "a"]
    assert ranked([other.reverse(), one]).equals(found)


def test_samples_that_a_run_lacks_are_left_out() -> None:
    found = ranked([rows([1, 1], [0.0, 0.0], "ab"), rows([2, 2], [0.0, 0.0], "bc")])
    assert found["sample"].to_list() == ["b"]


@pytest.mark.parametrize(
    ("kl", "spread"), [((nan, 0.2), 0.0), ((nan, nan), 0.0), ((inf, inf), 0.0), ((inf, 0.5), inf)]
)
def test_divergences_that_are_no_numbers(kl: tuple[float, float], spread: float) -> None:
    found = ranked([rows([1], [kl[0]]), rows([1], [kl[1]])])
    assert found["spread"].to_list() == [spread]


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=6))
def test_different_is_the_share_of_pairs_that_differ(predictions: list[list[int]]) -> None:
    found = ranked([rows(each, [0.0] * 4) for each in predictions]).sort("sample")
    pairs = [(a, b) for a in range(len(predictions)) for b in range(a)]
    for place, share in enumerate(found["different"].to_list()):
        differ = sum(predictions[a][place] != predictions[b][place] for a, b in pairs)
        assert share == pytest.approx(differ / len(pairs))


@pytest.fixture
def store(tmp_path: Path) -> tuple[Store, list[str]]:
    """Two runs on four images, alike on the first and the last."""
    filled, ids = Store(tmp_path), []
    for keep, predictions in ((40, [1, 2, 3, 4]), (50, [1, 2, 9, 4])):
        run = make_run("tome", keep, data=make_data(images=4))
        kl = pl.Series("kl", [0.5, keep / 100, 0.5, 0.5])
        changed = pl.Series("prediction", predictions, pl.Int64)
        found = make_rows(run).with_columns(changed, kl)
        filled.write(make_result(run, found), found)
        ids.append(run.id)
    return filled, ids


def test_a_store_names_the_samples_that_differ_at_all(store: tuple[Store, list[str]]) -> None:
    filled, ids = store
    assert disagreements(filled, ids, 10) == ["test/0002", "test/0001"]
    assert disagreements(filled, ids, 1) == ["test/0002"]
    assert disagreements(filled, ids, 0) == []


def test_one_run_disagrees_with_nobody(store: tuple[Store, list[str]]) -> None:
    filled, ids = store
    for few in ([], ids[:1], [ids[0]] * 3):
        with pytest.raises(KeeprateError) as raised:
            disagreements(filled, few, 3)
        assert str(raised.value) == "It takes two runs or more to disagree: name their ids."


def test_runs_of_other_images_are_refused(store: tuple[Store, list[str]]) -> None:
    filled, ids = store
    run = make_run("random", 40, data=make_data(name="others", images=4))
    found = make_rows(run).with_columns(pl.Series("sample", ["p", "q", "r", "s"]))
    filled.write(make_result(run, found), found)
    with pytest.raises(KeeprateError) as raised:
        disagreements(filled, [ids[0], run.id], 3)
    assert str(raised.value) == f"The runs have no sample in common: {ids[0]}, {run.id}."


@pytest.mark.system
def test_ranking_needs_no_torch() -> None:
    code = (
        "import sys, keeprate.analysis.sections.disagreement_ranking; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
