"""Smaller models, unpruned, beside a larger one that is reduced."""

from __future__ import annotations

from pathlib import Path

from keeprate.analysis.build import findings_of
from keeprate.analysis.model import GroupFindings
from keeprate.results.records import RunInfo
from keeprate.results.store import Store
from keeprate_reports.accuracy_chart import chart
from keeprate_reports.html_payload import payload
from results_factory import (
    UNPRUNED_MACS,
    fill,
    make_backbone,
    make_data,
    make_result,
    make_rows,
    make_run,
)


def put_unpruned(store: Store, run: RunInfo, macs: int, accuracy: float) -> None:
    rows = make_rows(run, accuracy)
    result = make_result(run, rows)
    costs = result.measured.macs.model_copy(update={"total": float(macs), "unpruned": macs})
    measured = result.measured.model_copy(update={"macs": costs})
    store.write(result.model_copy(update={"measured": measured}), rows)


def several(folder: Path) -> dict[str, GroupFindings]:
    store = fill(folder, {"tome": (50, 8)})
    small = make_backbone("small", "a1" * 32), make_backbone("tiny", "b2" * 32)
    put_unpruned(store, make_run("full", backbone=small[0]), UNPRUNED_MACS // 2, 0.9)
    put_unpruned(store, make_run("full", backbone=small[1]), UNPRUNED_MACS // 9, 0.5)
    elsewhere = make_data(fingerprint="00" * 32)
    put_unpruned(store, make_run("full", backbone=small[1], data=elsewhere), 1000, 0.5)
    found = findings_of(store)
    return {f"{group.model} {group.unpruned_macs}": group for group in found.groups}


def test_a_larger_model_is_shown_with_the_smaller_ones_on_the_same_images(tmp_path: Path) -> None:
    groups = several(tmp_path)
    large = groups[f"digits_vit {UNPRUNED_MACS}"]
    assert [(other.model, other.macs) for other in large.others] == [
        ("tiny", UNPRUNED_MACS // 9),
        ("small", UNPRUNED_MACS // 2),
    ]
    assert large.others[1].score == groups[f"small {UNPRUNED_MACS // 2}"].points[0].score
    assert [other.model for other in groups[f"small {UNPRUNED_MACS // 2}"].others] == ["tiny"]
    # the smallest has none, and neither has a model on other images
    assert groups[f"tiny {UNPRUNED_MACS // 9}"].others == groups["tiny 1000"].others == ()


def test_a_table_sets_the_best_run_that_costs_no_more_beside_each(tmp_path: Path) -> None:
    large = several(tmp_path)[f"digits_vit {UNPRUNED_MACS}"]
    (table,) = (table for table in large.tables if table.title == "Smaller models")
    texts = list(zip(*(column.texts for column in table.columns), strict=True))
    reduced = next(point for point in large.points if point.asked == "8@3")
    assert [row[0] for row in texts] == ["tiny", "small"]
    assert texts[0][3:] == ("none", "", "")
    affordable = reduced.macs <= UNPRUNED_MACS // 2
    assert affordable
    assert texts[1][3] == "tome 8@3"
    assert texts[1][5] == f"{reduced.score.value:.2f}"


def test_charts_have_a_named_mark_for_each_at_its_own_cost(tmp_path: Path) -> None:
    several(tmp_path)
    found = findings_of(Store(tmp_path))
    position = next(n for n, group in enumerate(found.groups) if len(group.others) == 2)
    drawn = chart(found).to_dict()
    layers = drawn["concat"][position]["layer"]
    marks = [layer["mark"].get("shape") or layer["mark"]["type"] for layer in layers[-2:]]
    assert marks == ["diamond", "text"]
    shown = drawn["datasets"][layers[-1]["data"]["name"]]
    assert [row["name"] for row in shown] == ["tiny", "small"]
    low, high = layers[-1]["encoding"]["x"]["scale"]["domain"]
    assert all(low < row["cost"] < high for row in shown)
    groups = payload(found)["groups"]
    assert isinstance(groups, list)
    assert [row["name"] for row in groups[position]["others"]] == ["tiny", "small"]
    assert {"name": "others"} in [
        each["data"] for each in groups[position]["charts"]["cost"]["layer"]
    ]
