"""Findings: equal-cost comparisons, seeds, ablations, curves and where figures come from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from keeprate.analysis.build import findings_of
from keeprate.analysis.model import GroupFindings, ReportOptions
from keeprate.analysis.statistics import holm, mcnemar_exact, paired_difference, wilson_interval
from keeprate.cli.commands.compare import compare
from keeprate.errors import KeeprateError
from keeprate.results.records import RunInfo
from keeprate.results.store import Store
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
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


def group_of(store: Store, **options: Any) -> GroupFindings:
    (group,) = findings_of(store, ReportOptions(**options)).groups
    return group


def run_at(method: str, keep: int, budget: str, **changes: Any) -> RunInfo:
    return make_run(method, keep, budget=budget, schedule="r", **changes)


def seeded(seed: int) -> dict[str, Any]:
    return {"seed": seed, "parameters": {"seed": seed}}


def test_every_run_is_a_point_and_the_front_holds_what_none_beats(store: Store) -> None:
    fill(store.folder, {"tome": (50, 40)})
    put(store, make_run("bad", 50), accuracy=0.5)
    points = group_of(store).points
    assert [point.macs for point in points] == sorted(point.macs for point in points)
    assert {p.label: p.on_front for p in points if p.asked != "40@3"} == {
        "tome": True,
        "bad": False,
        "full": True,
    }
    tome = next(point for point in points if point.label == "tome" and point.asked == "50@3")
    hits = int(make_rows(make_run("tome", 50), 0.97 - 14 / 400)["correct"].sum())
    low, high = wilson_interval(hits, 200)
    shown = (tome.score.value, tome.score.low, tome.score.high)
    assert shown == (100 * hits / 200, 100 * low, 100 * high)
    assert tome.tokens == (65.0,) * 4 + (51.0,) * 8


def test_the_best_is_compared_with_all_at_its_budget_and_holm_corrects_over_budgets(
    store: Store,
) -> None:
    put(store, make_run("full"), accuracy=0.97)
    accuracies = {("a", 50): 0.9, ("b", 50): 0.7, ("a", 40): 0.85, ("b", 40): 0.84}
    for (method, keep), accuracy in accuracies.items():
        put(store, run_at(method, keep, f"{keep}%"), accuracy)
    dear, cheap = group_of(store).equal_cost
    assert [dear.budget, cheap.budget] == ["50%", "40%"]
    assert [dear.reference, cheap.reference] == ["a", "a"]

    def correct(method: str, keep: int) -> Any:
        rows = make_rows(make_run(method, keep), accuracies[method, keep])
        return rows["correct"].to_numpy()

    p_values = [mcnemar_exact(correct("b", keep), correct("a", keep)) for keep in (50, 40)]
    for table, keep, adjusted in zip((dear, cheap), (50, 40), holm(p_values), strict=True):
        first, second = table.rivals
        assert (first.verdict, first.best, second.best) == (None, True, False)
        assert second.verdict is not None
        assert second.verdict.family == 2
        assert second.verdict.adjusted_p_value == adjusted
        difference = paired_difference(correct("b", keep), correct("a", keep))[0]
        assert second.verdict.difference.value == pytest.approx(100 * difference)
    assert [rival.level_with_best for rival in dear.rivals] == [True, False]
    assert [rival.level_with_best for rival in cheap.rivals] == [True, True]


def test_the_reference_can_be_named_by_method_or_series(store: Store) -> None:
    put(store, make_run("full"))
    for method, value in (("a", 1), ("a", 2), ("b", 1)):
        put(store, run_at(method, 50, "80%", parameters={"x": value}), accuracy=0.6 + value / 10)
    assert group_of(store, reference="a").equal_cost[0].reference == "a x=2"
    assert group_of(store, reference="a x=1").equal_cost[0].reference == "a x=1"
    assert group_of(store, reference="b").equal_cost[0].reference == "b"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference": "c"}, "No method or series 'c' here: there are full, random, tome."),
        ({"level": 95.0}, "Level 95.0 must lie between 0 and 1: give 0.95."),
        (
            {"budgets": ("cheap",)},
            "'cheap' is not a budget. Write GMACs (0.8), 800M, or a share of the unpruned model "
            "(65%).",
        ),
    ],
)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(KeeprateError) as caught:
        group_of(fill(tmp_path), **options)
    assert str(caught.value) == said


def test_seeds_are_joined_and_their_interval_is_for_other_seeds_too(store: Store) -> None:
    put(store, make_run("full"), accuracy=0.97)
    for seed in range(3):
        put(store, run_at("random", 50, "80%", **seeded(seed)), 0.6 + seed / 10, seed=seed)
    put(store, run_at("tome", 50, "80%"), accuracy=0.95)
    (table,) = group_of(store).equal_cost
    rival = next(each for each in table.rivals if each.series == "random")
    assert rival.seeds == (0, 1, 2)
    shares = [
        float(make_rows(make_run(), 0.6 + seed / 10, seed)["correct"].to_numpy().mean())
        for seed in range(3)
    ]
    assert rival.score.value == pytest.approx(100 * sum(shares) / 3)
    one = 100 * wilson_interval(round(200 * shares[1]), 200)[1] - 100 * shares[1]
    assert rival.score.high - rival.score.value > one


def test_runs_of_one_series_and_seed_at_one_budget_are_told_apart_by_schedule(
    store: Store,
) -> None:
    put(store, make_run("full"))
    for keep, schedule in ((50, "r"), (49, "r=16..0")):
        put(store, make_run("tome", keep, budget="80%", schedule=schedule))
    (table,) = group_of(store).equal_cost
    assert {each.series for each in table.rivals} == {"tome r", "tome r=16..0"}


def test_what_was_not_run_at_a_budget_is_absent_there_and_read_off_its_curve(
    store: Store,
) -> None:
    put(store, make_run("full"), accuracy=0.97)
    for keep in (60, 40):
        put(store, run_at("a", keep, f"{keep}%"), accuracy=0.6 + keep / 200)
    put(store, run_at("b", 60, "60%"), accuracy=0.8)
    off = group_of(store, budgets=("90%", "10%"))
    assert off.equal_cost == ()
    inside, outside = off.curves[0].readings
    assert inside.score is not None
    low, high = (next(p for p in off.points if p.asked == f"{keep}%") for keep in (40, 60))
    macs, values = [low.macs, high.macs], [low.score.value, high.score.value]
    assert inside.score.value == pytest.approx(np.interp(0.9 * UNPRUNED_MACS, macs, values))
    assert inside.score.low < inside.score.value < inside.score.high
    assert outside.score is None
    assert outside.reason.startswith("4.325 MMACs is outside the costs that were run")
    group = group_of(store)
    assert {table.budget: table.absent for table in group.equal_cost} == {"60%": (), "40%": ("b",)}
    (curve,) = group.curves
    assert curve.series == "a"
    assert curve.area is not None
    assert 80 < curve.area.value < 97


def test_ablations_differ_in_one_factor_and_only_a_clear_winner_is_marked(store: Store) -> None:
    put(store, make_run("full"), accuracy=0.97)
    accuracies = {("x", 1): 0.9, ("y", 1): 0.6, ("x", 2): 0.89, ("z", 2): 0.88}
    for (mode, size), accuracy in accuracies.items():
        parameters = {"mode": mode, "size": size}
        put(store, run_at("zt", 50, "80%", parameters=parameters), accuracy)
    found = {(each.factor, each.fixed): each for each in group_of(store).ablations}
    assert {key[0] for key in found} == {"mode", "size"}
    by_size = {each.settings[0].value: each for each in found.values() if each.factor == "size"}
    assert [setting.value for setting in by_size["1"].settings] == ["1", "2"]
    modes = [each for each in found.values() if each.factor == "mode"]
    winners = {each.fixed.split("size=")[1][0]: each.winner for each in modes}
    assert winners == {"1": "x", "2": ""}
    assert all(each.settings[1].verdict for each in found.values())


def test_published_points_go_with_their_backbone_alone(store: Store) -> None:
    for number, name in enumerate(("deit_small_patch16_224.fb_in1k", "digits_vit")):
        put(store, make_run("full", backbone=make_backbone(name, f"{number:064d}")))
    deit, digits = findings_of(store).groups
    assert digits.published == ()
    (point,) = [p for p in deit.published if p.method == "ToMe" and p.images_per_second]
    assert (point.macs, point.top1_percent, point.images_per_second) == (2.95e9, 78.9, 2263.9)
    assert point.share_percent == pytest.approx(100 * 2.95 / 4.55)
    assert point.ruler.startswith("without the patch embedding")


def test_provenance_has_a_command_that_the_command_line_takes(store: Store) -> None:
    data = make_data(places={"folder": "/data/my photos"}, skipped={"a": "empty"}, notes=("Told.",))
    backbone = make_backbone("vit_tiny_patch16_224").model_copy(
        update={
            "weights": WeightsOrigin(WeightsKind.FILE, "vit.safetensors"),
            "image_size": (224, 224),
        }
    )
    run = run_at(
        "zt", 50, "65%", data=data, backbone=backbone, parameters={"pattern": "I'-S", "steps": [3]}
    )
    put(store, run)
    (group,) = findings_of(store).groups
    (origin,) = group.provenance
    assert (origin.run_id, origin.device, origin.started) == (run.id, "cpu", make_time())
    assert origin.notes == ("Told.",)
    words = shlex.split(origin.command)
    assert words[:2] == ["keeprate", "compare"]
    given = compare.make_context("compare", words[2:], resilient_parsing=True).params
    assert given["data"] == "digits:folder=/data/my photos"
    assert given["methods"] == ("zt:pattern=I'-S,steps=3",)
    assert (given["budgets"], given["schedules"]) == (("65%",), ("r",))
    assert (given["limit"], given["skip_bad"]) == (200, True)
    assert given["weights"] == (Path("vit.safetensors"),)
    assert given["image_size"] == "224"
    assert group.commands == (origin.command,)


def make_time() -> str:
    return make_result(make_run(), make_rows(make_run())).environment.started


def test_methods_at_the_same_costs_share_a_command(store: Store) -> None:
    for method in ("a", "b"):
        for keep in (50, 40):
            put(store, run_at(method, keep, f"{keep}%"))
    put(store, run_at("c", 50, "50%"))
    commands = [shlex.split(each) for each in group_of(store).commands]
    asked = [
        [each[n + 1] for n, word in enumerate(each) if word == "--method"] for each in commands
    ]
    assert sorted(asked) == [["a", "b"], ["c"]]


def test_throughput_is_a_mean_over_what_was_measured(store: Store) -> None:
    run = run_at("tome", 50, "80%")
    store.write(make_result(run, make_rows(run), make_throughput(1.5)), make_rows(run))
    ((rival,),) = [table.rivals for table in group_of(store).equal_cost]
    assert rival.throughput_ratio == 1.5


def test_a_store_without_runs_has_findings(store: Store) -> None:
    found = findings_of(store)
    assert found.groups == ()
    assert found.overview == ("No finished run.",)


def test_one_run_alone_is_told_of_without_a_comparison(store: Store) -> None:
    put(store, run_at("tome", 50, "80%"), accuracy=0.9)
    group = group_of(store)
    assert group.unpruned is None
    assert group.overview[-1].startswith("At 80% only tome was run: ")
    assert (group.curves, group.area_differences, group.ablations) == ((), (), ())


def test_old_and_broken_files_are_named_and_the_others_compared(store: Store) -> None:
    fill(store.folder)
    store.path_of("old-1", ".json").write_text('{"format_version": 1}')
    lost = make_run("lost", 30)
    put(store, lost)
    store.path_of(lost.id, ".parquet").write_bytes(b"PAR1 no parquet")
    found = findings_of(store)
    assert any(line.startswith("old-1.json: has format_version 1") for line in found.problems)
    assert any(line.startswith(f"{lost.id}.json: ") for line in found.problems)
    assert found.overview[-1] == "2 problems with the store, listed at the end."
    assert len(found.groups[0].points) == 5
