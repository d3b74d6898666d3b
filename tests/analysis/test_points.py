"""Every run is paired with the unpruned one, and what cannot be compared is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.model import Point
from keeprate.analysis.statistics import mcnemar_exact, paired_difference, wilson_interval
from keeprate.results.labels import labels_of
from keeprate.results.records import RunInfo
from keeprate.results.store import Store
from results_factory import (
    UNPRUNED_MACS,
    fill,
    make_backbone,
    make_data,
    make_result,
    make_rows,
    make_run,
    make_throughput,
    put,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def point_of(store: Store, run: RunInfo) -> Point:
    points = [point for group in findings_of(store).groups for point in group.points]
    return next(point for point in points if point.run_id == run.id)


def write(store: Store, run: RunInfo, rows: pl.DataFrame) -> None:
    store.write(make_result(run, rows), rows)


def test_points_are_sorted_by_cost_and_the_unpruned_run_is_found(tmp_path: Path) -> None:
    found = findings_of(fill(tmp_path))
    assert found.problems == ()
    (group,) = found.groups
    costs = [point.macs for point in group.points]
    assert costs == sorted(costs)
    assert group.unpruned == group.points[-1]
    assert group.unpruned.method == "full"
    assert group.unpruned_macs == UNPRUNED_MACS
    assert group.title == "digits_vit on digits, 200 images, float32"


def test_figures_are_those_of_the_statistics(store: Store) -> None:
    plain, reduced = make_run("full"), make_run("tome", 40, budget="65%")
    put(store, plain, accuracy=0.95)
    put(store, reduced, accuracy=0.85)
    point = point_of(store, reduced)
    a, b = (make_rows(run, share)["correct"] for run, share in ((reduced, 0.85), (plain, 0.95)))
    hits = int(a.sum())
    assert point.score.value == pytest.approx(100 * hits / 200)
    low, high = wilson_interval(hits, 200)
    assert (point.score.low, point.score.high) == (100 * low, 100 * high)
    difference, low, high = paired_difference(a.to_numpy(), b.to_numpy())
    assert point.difference is not None
    assert point.difference.value == pytest.approx(100 * difference)
    assert point.difference.low == pytest.approx(100 * low)
    assert point.difference.high == pytest.approx(100 * high)
    assert point.p_value == mcnemar_exact(a.to_numpy(), b.to_numpy())
    assert point.macs_model + point.macs_overhead == pytest.approx(point.macs)
    assert point.share_percent == pytest.approx(100 * point.macs / UNPRUNED_MACS)
    assert (point.budget, point.schedule, point.asked) == ("65%", "40@3", "65%")
    assert point.tokens == (65.0,) * 4 + (41.0,) * 8
    assert point.throughput_ratio is None


def test_runs_are_paired_by_sample_whatever_the_order_of_their_rows(store: Store) -> None:
    plain, reduced = make_run("full"), make_run("tome", 40)
    put(store, plain, accuracy=0.95)
    rows = make_rows(reduced, 0.9)
    write(store, reduced, rows)
    expected = point_of(store, reduced)
    write(store, reduced, rows.sample(fraction=1.0, shuffle=True, seed=5))
    assert point_of(store, reduced) == expected


def test_the_unpruned_run_has_no_difference_to_itself(store: Store) -> None:
    put(store, make_run("full"))
    point = point_of(store, make_run("full"))
    assert point.difference is None
    assert point.p_value is None


def test_without_an_unpruned_run_differences_are_left_out_and_it_is_said(store: Store) -> None:
    put(store, make_run("tome", 40))
    found = findings_of(store)
    assert found.groups[0].points[0].difference is None
    assert found.groups[0].unpruned is None
    assert found.problems == (
        "digits_vit on digits, 200 images, float32: no unpruned run to compare with",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": make_backbone(weights_sha256="ff" * 32)},
        {"data": make_data(fingerprint="ff" * 32)},
        {"data": make_data(transform={"interpolation": "nearest"})},
        {"data": make_data(images=100)},
        {"data": make_data(skipped={"test/0001": "empty file"})},
        {"precision": "bfloat16"},
    ],
)
def test_only_like_is_compared_with_like(change: dict[str, Any], store: Store) -> None:
    put(store, make_run("full"))
    put(store, make_run("tome", 40, **change))
    found = findings_of(store)
    assert len(found.groups) == 2
    assert len({group.title for group in found.groups}) == 2
    (other,) = [group for group in found.groups if group.unpruned is None]
    assert other.points[0].difference is None
    assert len(found.problems) == 1


def test_runs_on_other_samples_are_not_paired(store: Store) -> None:
    put(store, make_run("full"))
    run = make_run("tome", 40)
    write(store, run, make_rows(run).with_columns(pl.col("sample").str.replace("test", "train")))
    found = findings_of(store)
    assert found.problems == (f"{run.id}: other images than {make_run('full').id}",)
    assert point_of(store, run).p_value is None


def test_several_models_and_data_sets_are_groups_of_their_own(store: Store) -> None:
    for model in ("small", "large"):
        for data in ("digits", "photos"):
            info: dict[str, Any] = {
                "backbone": make_backbone(model, weights_sha256=model),
                "data": make_data(data, fingerprint=data),
            }
            put(store, make_run("full", **info))
            put(store, make_run("tome", 40, **info))
    found = findings_of(store)
    assert [group.title.split(",")[0] for group in found.groups] == [
        "large on digits",
        "large on photos",
        "small on digits",
        "small on photos",
    ]
    assert all(group.unpruned and len(group.points) == 2 for group in found.groups)
    assert found.problems == ()


def seeded(seed: int) -> dict[str, object]:
    """What is written down of a run whose method takes a seed."""
    return {"seed": seed, "parameters": {"seed": seed}}


def test_of_several_unpruned_runs_the_plain_one_is_the_reference(store: Store) -> None:
    for changes in ({"empty_last_mlp": True}, seeded(2), seeded(1)):
        put(store, make_run("full", **changes))
    (group,) = findings_of(store).groups
    assert group.unpruned is not None
    assert group.unpruned.run_id == make_run("full", **seeded(1)).id
    assert [point.difference for point in group.points].count(None) == 1


def test_figures_that_are_not_those_of_the_rows_are_left_out(store: Store) -> None:
    put(store, make_run("full"))
    run = make_run("tome", 40)
    result = make_result(run, make_rows(run, accuracy=0.9))
    store.write(result, make_rows(run, accuracy=0.5))
    found = findings_of(store)
    assert [point.method for point in found.groups[0].points] == ["full"]
    assert found.problems == (
        f"{run.id}.json: its figures are not those of its rows: run it again with --force",
    )


def test_what_the_store_cannot_read_is_a_problem(store: Store) -> None:
    put(store, make_run("full"))
    store.path_of("bad-1", ".json").write_text("{")
    found = findings_of(store)
    assert len(found.groups[0].points) == 1
    assert found.problems[0].startswith("bad-1.json: ")


def test_an_empty_store_has_no_groups(store: Store) -> None:
    assert findings_of(store).groups == ()


def test_a_group_says_what_throughput_was_measured_on(store: Store) -> None:
    run = make_run("full")
    store.write(make_result(run, make_rows(run), make_throughput(1.5)), make_rows(run))
    put(store, make_run("tome", 40))
    (group,) = findings_of(store).groups
    assert group.throughputs == ("cpu, float32, batch size 64",)
    assert group.unpruned is not None
    assert (group.unpruned.throughput_ratio, group.unpruned.images_per_second) == (1.5, 1500.0)


def labels(*runs: RunInfo) -> list[str]:
    return list(labels_of(runs).values())


def test_a_label_is_the_method_and_what_tells_its_runs_apart() -> None:
    shared = {"iterations": [30, 5, 1], "uniform": False}
    assert labels(
        make_run("zt", parameters=shared | {"pattern": "I'-S"}),
        make_run("zt", parameters=shared | {"pattern": "I", "uniform": True}),
        make_run("tome", 40, parameters={"proportional_attention": True}),
        make_run("tome", 30, parameters={"proportional_attention": True}),
    ) == ["zt uniform=false pattern=I'-S", "zt uniform=true pattern=I", "tome", "tome"]


def test_a_label_has_the_seed_and_the_empty_mlp_where_they_differ() -> None:
    assert labels(make_run(**seeded(0)), make_run(**seeded(1))) == ["tome seed=0", "tome seed=1"]
    assert labels(make_run(), make_run(empty_last_mlp=True)) == [
        "tome empty_last_mlp=false",
        "tome empty_last_mlp=true",
    ]
    assert labels(make_run("a", **seeded(0)), make_run("b", **seeded(1))) == ["a", "b"]


def test_lists_are_spelled_as_on_the_command_line() -> None:
    assert labels(
        make_run(parameters={"iterations": [30, 5, 1]}), make_run(parameters={"iterations": [1]})
    ) == ["tome iterations=30,5,1", "tome iterations=1"]
