"""A figure that cannot be true, or is not that of its rows, is refused wherever it is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keeprate.errors import KeeprateError
from keeprate.results.listing import listed
from keeprate.results.manage import merge
from keeprate.results.plausibility import has_figures_of
from keeprate.results.store import Store
from results_factory import make_result, make_rows, make_run, make_throughput, put

IMPOSSIBLE = {
    "top1 is 750.0%": {"metrics": {"top1": 7.5}},
    "agreement is -10.0%": {"metrics": {"agreement": -0.1}},
    "macs: -1": {"macs": {"total": -1.0}},
    "macs of the method: -2": {"macs": {"overhead": -2.0}},
    "seconds: -3": {"wall_seconds": -3.0},
    "tokens: -4": {"tokens": [5.0, -4.0]},
    "images per second: -5": {
        "throughput": make_throughput().model_dump(mode="json") | {"images_per_second": -5.0}
    },
}


def edited(store: Store, run_id: str, changes: dict[str, Any]) -> None:
    path = store.path_of(run_id, ".json")
    content = json.loads(path.read_text())
    for name, value in changes.items():
        old = content["measured"][name]
        content["measured"][name] = old | value if isinstance(old, dict) else value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("said", IMPOSSIBLE)
def test_an_impossible_figure_is_refused_with_its_remedy(said: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    run_id = put(store, make_run()).id
    edited(store, run_id, IMPOSSIBLE[said])
    told = f"{run_id}.json: {said}, which no run can have: run it again with --force"
    assert store.find(run_id) is None
    assert store.results() == ([], [told])
    assert listed(store) == ([], [told])
    with pytest.raises(KeeprateError, match="which no run can have: run it again with --force"):
        store.read(run_id)


@pytest.mark.parametrize(
    "changes",
    [
        {"metrics": {"top1": 0.95}},
        {"metrics": {"top5": 0.2}},
        {"metrics": {"kl": 9.0}},
        {"macs": {"total": 5.0}},
        {"images": 7},
    ],
)
def test_a_figure_that_is_not_that_of_its_rows_is_no_finished_run(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    store = Store(tmp_path / "a")
    true, false = (put(store, make_run(keep=keep)).id for keep in (40, 60))
    edited(store, false, changes)
    runs, problems = listed(store)
    assert [run.id for run in runs] == [true]
    told = f"{false}.json: its figures are not those of its rows: run it again with --force"
    assert problems == [told]
    merged = merge(Store(tmp_path / "b"), [store])
    assert [problem.endswith(told) for problem in merged.problems] == [True]


def test_a_figure_that_no_row_has_is_not_known() -> None:
    rows = make_rows(make_run())
    measured = make_result(make_run(), rows).measured
    assert has_figures_of(measured, rows)
    unknown = measured.model_copy(update={"metrics": {"kl": float("nan"), "mine": 3.0}})
    assert has_figures_of(unknown, rows.with_columns(kl=float("nan")))
    assert not has_figures_of(measured, rows.with_columns(kl=float("nan")))
