"""Budgets: what a run costs is what was allowed, a little less, or an error that says what is."""

from __future__ import annotations

from functools import cache

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import keeprate
from keeprate import KeeprateError, Stage
from keeprate.costs import gmacs, parse_budget
from keeprate.plugins.registry import registry
from keeprate.reduction.budget import solve
from keeprate.resizing import InputMethod
from keeprate_methods.random_drop import RandomDrop
from references.tiny import tiny_vit

DEIT_S, DEIT_T = "deit_small_patch16_224", "deit_tiny_patch16_224"
REDUCING = [
    name
    for name, offer in registry().methods.items()
    # grids are coarser steps than tokens
    if offer.cls.reduces
    and not offer.cls.requires_weights
    and not issubclass(offer.cls, InputMethod)
    and not offer.cls.keeps_per_image  # theirs are solved on images
]


@cache
def shapes_of(name: str) -> nn.Module:
    """Return a model without numbers: enough to count."""
    with torch.device("meta"):
        return timm.create_model(name).eval()


@pytest.mark.parametrize(
    ("text", "macs", "share"),
    [
        ("0.8", 800_000_000, None),
        (0.8, 800_000_000, None),
        (3, 3_000_000_000, None),
        ("0.8G", 800_000_000, None),
        (" 3.05 G ", 3_050_000_000, None),
        (".5", 500_000_000, None),
        ("800M", 800_000_000, None),
        ("0.5M", 500_000, None),
        ("65%", None, 0.65),
        ("100%", None, 1.0),
        ("33.3 %", None, 0.333),
    ],
)
def test_budgets_are_gmacs_mmacs_or_a_share(
    text: str | float, macs: int | None, share: float | None
) -> None:
    budget = parse_budget(text)
    assert budget.macs == macs
    assert budget.share == (None if share is None else pytest.approx(share))
    assert budget.of(1_000_000) == pytest.approx(macs if macs is not None else share * 1e6, abs=1)


@pytest.mark.parametrize("text", ["", "0", "-1", "0%", "101%", "65 percent", "1e9", "G", "1T", "%"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(KeeprateError) as refused:
        parse_budget(text)
    assert str(refused.value) == (
        f"'{text}' is not a budget. Write GMACs (0.8), 800M, or a share of the unpruned model "
        "(65%)."
    )


@pytest.mark.sample(3)
@pytest.mark.parametrize("model", [DEIT_S, DEIT_T])
@pytest.mark.parametrize("method", REDUCING)
@pytest.mark.parametrize("share", [80, 65, 50])
def test_every_method_spends_a_share_to_half_a_percent(model: str, method: str, share: int) -> None:
    unpruned = keeprate.macs(shapes_of(model))
    reduced = keeprate.reduce(shapes_of(model), method, budget=f"{share}%")
    spent = reduced.costs().total
    assert 0.995 * share / 100 * unpruned <= spent <= share / 100 * unpruned
    assert reduced.plan.note((224, 224)) is None
    assert keeprate.macs(reduced) == spent


@pytest.mark.sample(3)
@pytest.mark.parametrize("method", REDUCING)
@pytest.mark.parametrize(("model", "budget"), [(DEIT_S, 3.0), (DEIT_S, "2500M"), (DEIT_T, "0.8G")])
def test_every_method_spends_gmacs_to_half_a_percent(
    model: str, method: str, budget: str | float
) -> None:
    allowed = {3.0: 3.0e9, "2500M": 2.5e9, "0.8G": 0.8e9}[budget]
    spent = keeprate.reduce(shapes_of(model), method, budget=budget).costs().total
    assert 0.995 * allowed <= spent <= allowed


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("method", "schedule", "parameters"),
    [
        ("tome", "r", {}),
        ("tome", "r=16..0", {}),
        ("tome", "depth", {"proportional_attention": False}),
        ("tome", "sqrt-depth", {}),
        ("random", "keep@4,5,6", {}),
        ("random", "keep=0.9,0.7,0.5@3,6,9", {}),
        ("random", "r=1,1,1,1,2,2,2,2,3,3,3,3", {}),
        ("class-attention", "keep@1", {}),
        ("zero-tprune", "keep", {"pattern": "I'-S"}),
        ("zero-tprune", "keep", {"partition": "none", "similarity": "chebyshev"}),
        ("zero-tprune", "keep", {"on_drop": "merge", "feature": "x"}),
        ("zero-tprune", "r", {"tolerance": 1e-3}),
    ],
)
@pytest.mark.parametrize("empty_last_mlp", [False, True])
def test_every_form_of_schedule_has_a_scale_to_solve_for(
    method: str, schedule: str, parameters: dict[str, object], empty_last_mlp: bool
) -> None:
    reduced = keeprate.reduce(
        shapes_of(DEIT_S),
        method,
        schedule,
        budget="70%",
        empty_last_mlp=empty_last_mlp,
        **parameters,
    )
    allowed = 0.7 * keeprate.macs(shapes_of(DEIT_S))
    assert 0.99 * allowed <= reduced.costs().total <= allowed
    if reduced.costs().total < 0.995 * allowed:
        assert reduced.plan.note((224, 224)) is not None


def test_blocks_round_one_after_another_so_that_no_step_is_coarse() -> None:
    """One token per block more or less is a step of 6 %: removals between the two are found."""
    model = tiny_vit(depth=12)
    one_each = keeprate.reduce(model, "random", "r=1").costs().total
    one_later = keeprate.reduce(model, "random", "r=0,1,1,1,1,1,1,1,1,1,1,1").costs().total
    between = (one_each + one_later) / 2
    spent = keeprate.reduce(model, "random", "r", budget=f"{between / 1e6}M").costs().total
    assert one_each < 0.97 * one_later
    assert 0.995 * between <= spent <= between


def test_a_budget_of_everything_removes_nothing() -> None:
    reduced = keeprate.reduce(shapes_of(DEIT_T), "zero-tprune", budget="100%")
    assert {stage.keep for stage in reduced.stages()} == {196}
    assert reduced.costs().total == keeprate.macs(shapes_of(DEIT_T))


def test_a_budget_no_reduction_reaches_is_refused_with_what_can_be_reached() -> None:
    model = shapes_of(DEIT_T)
    least = keeprate.reduce(model, "random", "1@9").costs().total
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(model, "random", "keep@9", budget="50%")
    assert str(refused.value) == (
        "A budget of 0.6268 GMACs is out of reach of method 'random' with schedule 'keep@9': "
        f"it costs {gmacs(least)} at least and 1.2537 GMACs at most."
    )


def test_a_budget_larger_than_the_model_is_refused_with_what_it_costs() -> None:
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(shapes_of(DEIT_T), "tome", budget=3.0)
    assert str(refused.value) == (
        "A budget of 3.0000 GMACs is more than method 'tome' with schedule 'r' can spend: "
        "at most 1.2537 GMACs. A share is written with %, as 65%."
    )


def test_a_budget_out_of_reach_names_the_parameters_that_are_not_defaults() -> None:
    with pytest.raises(KeeprateError, match=r"of method 'random seed=3' with schedule 'keep': "):
        keeprate.reduce(shapes_of(DEIT_T), RandomDrop(seed=3), budget="1%")


def test_token_counts_too_coarse_for_a_budget_are_said_to_be_with_the_nearest_costs() -> None:
    model = tiny_vit()
    unpruned = keeprate.macs(model)
    reduced = keeprate.reduce(model, "random", "keep@0", budget="73%")
    (stage,) = reduced.stages()
    above = keeprate.reduce(model, "random", f"{stage.keep + 1}@0").costs().total
    spent = reduced.costs().total
    assert spent < 0.995 * 0.73 * unpruned < 0.73 * unpruned < above
    assert reduced.plan.note((20, 20)) == (
        f"Token counts are too coarse for {gmacs(0.73 * unpruned)}: the nearest reachable "
        f"costs are {gmacs(spent)} (used) and {gmacs(above)}."
    )


def test_a_budget_takes_a_schedule_with_a_scale_not_counts() -> None:
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(shapes_of(DEIT_T), "random", "137@3,96@6", budget="65%")
    assert str(refused.value) == (
        "Schedule '137@3,96@6' gives explicit counts: no scale is left for a budget. "
        "Drop one of the two."
    )
    with pytest.raises(KeeprateError, match="gives explicit counts"):
        keeprate.reduce(shapes_of(DEIT_S), "zero-tprune", "paper-deit-s", budget="65%")


def test_a_method_needs_a_schedule_or_a_budget() -> None:
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(shapes_of(DEIT_T), "tome")
    assert str(refused.value) == (
        "Method 'tome' needs a schedule (r=13, keep=0.7) or a budget (65%)."
    )


def test_a_budget_holds_at_every_image_size() -> None:
    with torch.device("meta"):
        model = timm.create_model("vit_tiny_patch16_224", dynamic_img_size=True)
    reduced = keeprate.reduce(model, "zero-tprune", budget="65%")
    for side in (224, 384):
        allowed = 0.65 * keeprate.macs(model, side)
        assert 0.995 * allowed <= reduced.costs(side).total <= allowed


def test_costs_are_written_for_people() -> None:
    assert gmacs(1_253_683_200) == "1.2537 GMACs"
    assert gmacs(100_000_000) == "0.1000 GMACs"
    assert gmacs(57_802_752) == "57.803 MMACs"


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    steps=st.lists(st.integers(1, 1000), min_size=1, max_size=40),
    floor=st.integers(1, 1000),
    share=st.floats(0.0, 1.0),
)
def test_the_dearest_cost_within_the_budget_is_found(
    steps: list[int], floor: int, share: float
) -> None:
    costs = [floor + sum(steps[i:]) for i in range(len(steps) + 1)]  # falling
    allowed = int(floor + share * sum(steps))
    solution = solve(
        make=lambda scale: (Stage(0, min(int(scale), len(steps)), 1),),
        price=lambda stages: costs[stages[0].keep],
        allowed=allowed,
        what="this",
    )
    affordable = [cost for cost in costs if cost <= allowed]
    assert solution.macs == max(affordable) == costs[solution.found[0].keep]
    dearer = [cost for cost in costs if cost > allowed]
    assert solution.next_macs == (min(dearer) if dearer else None)
    assert (solution.note is None) == (solution.macs >= 0.995 * allowed)


def test_the_same_stages_are_priced_once() -> None:
    priced: list[tuple[Stage, ...]] = []

    def price(stages: tuple[Stage, ...]) -> int:
        priced.append(stages)
        return 100 - stages[0].keep

    solve(lambda scale: (Stage(0, min(int(scale), 90), 1),), price, 50, "this")
    assert len(priced) == len(set(priced)) > 3
