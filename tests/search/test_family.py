"""Every schedule of a family costs what was asked for, to within half a per cent."""

from __future__ import annotations

from math import log

import pytest
import timm
from torch import nn

import keeprate
from keeprate import Stage
from keeprate.backbones.lookup import adapt
from keeprate.costs import parse_budget
from keeprate.method import Method
from keeprate.reduction.plan import make_plan
from keeprate.search.family import ScheduleFamily, counts_text
from keeprate.search.strategies import drawn
from keeprate.strategy import Candidate, Space
from keeprate_methods.random_drop import RandomDrop
from keeprate_methods.tome import ToMe

TINY = {"img_size": 64, "patch_size": 4, "embed_dim": 32, "depth": 4, "num_heads": 2}


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    """256 patches in 4 blocks, where one token is a small part of the cost."""
    return timm.create_model("vit_tiny_patch16_224", **TINY, num_classes=3).eval()


def family(
    vit: nn.Module, *methods: Method, budget: str = "65%", empty: bool = False
) -> ScheduleFamily:
    return ScheduleFamily(adapt(vit), methods or (RandomDrop(),), parse_budget(budget), empty)


class Dear(RandomDrop):
    """Costs more at the last block than it can save there."""

    def overhead_macs(self, shape: object, stage: Stage) -> int:
        return 10**7 if stage.block == stage.depth - 1 else 0


class Picky(RandomDrop):
    """Has weights for two stages."""

    def unfit(self, shape: object, stages: object) -> str:
        count = len(stages)  # type: ignore[arg-type]
        return "" if count in (0, 2) else "has weights for 2 stages"


@pytest.mark.parametrize("method", [RandomDrop, ToMe])
def test_drawn_schedules_cost_the_same_as_the_schedule_that_is_typed(
    vit: nn.Module, method: type[Method]
) -> None:
    found = family(vit, method())
    space = Space(4, found.blocks(), 5, 1, found.solve)
    candidates = drawn(space, 5, seed=0)
    assert len(candidates) == 5
    for candidate in candidates:
        solved = found.solve(candidate)
        assert solved is not None
        plan = make_plan(adapt(vit), method(), counts_text(solved.stages), None)
        assert plan.costs((64, 64)).total == solved.macs
        assert 0.995 * found.allowed <= solved.macs <= found.allowed


def test_all_stages_share_what_is_removed_as_the_candidate_says(vit: nn.Module) -> None:
    solved = family(vit).solve(Candidate((0.0, 2.0, 0.0, 1.0)))
    assert solved is not None
    (first, kept), (last, left) = solved.stages
    assert (first, last) == (1, 3)
    assert log(256 / kept) == pytest.approx(2 * log(kept / left), abs=0.05)
    assert solved.reductions == pytest.approx((0, log(256 / kept), 0, log(kept / left)))


def test_what_is_held_stays_when_more_is_removed_elsewhere(vit: nn.Module) -> None:
    found = family(vit)
    half = found.solve(Candidate((0.0, 1.0, 0.0, 0.0)), saving=0.5)
    assert half is not None
    whole = found.solve(Candidate((0.0, 0.0, 1.0, 0.0), held=half.reductions))
    assert whole is not None
    (_, before), (_, kept), (_, left) = (*half.stages, *whole.stages)
    assert kept - before in (0, 1)  # one more token where it still fits
    assert left < kept


def test_what_is_held_is_as_many_tokens_as_before(vit: nn.Module) -> None:
    found = family(vit)
    for keep in range(1, 256):
        held = (0.0, log(256 / keep), 0.0, 0.0)
        (stage,) = found._stages(RandomDrop(), Candidate((0.0,) * 4, held), scale=0.0)
        assert (stage.block, stage.keep) == (1, keep)


def test_where_a_token_is_much_what_is_left_is_spent_token_by_token() -> None:
    coarse = timm.create_model("vit_tiny_patch16_224", **TINY | {"patch_size": 8}, num_classes=3)
    found = family(coarse.eval())
    solved = found.solve(Candidate((0.0, 1.0, 0.0, 1.0)))
    assert solved is not None
    # one scale for both stages leaves more than half a per cent
    assert solved.stages == ((1, 30), (3, 17))
    assert 0.995 * found.allowed <= solved.macs <= found.allowed


def test_a_share_of_the_saving_costs_so_much_less(vit: nn.Module) -> None:
    found, unpruned = family(vit, budget="60%"), keeprate.macs(vit)
    half = found.solve(Candidate((1.0, 0.0, 0.0, 0.0)), saving=0.5)
    assert half is not None
    assert 0.796 * unpruned <= half.macs <= 0.8 * unpruned


def test_only_blocks_where_something_is_saved_count(vit: nn.Module) -> None:
    assert family(vit).blocks() == (0, 1, 2, 3)
    assert family(vit, RandomDrop(place="after-block")).blocks() == (0, 1, 2)
    assert family(vit, Dear()).blocks() == (0, 1, 2)
    # of two settings it is enough that one saves
    assert family(vit, Dear(), RandomDrop()).blocks() == (0, 1, 2, 3)


def test_no_schedule_is_none(vit: nn.Module) -> None:
    found = family(vit)
    assert found.solve(Candidate((0.0, 0.0, 0.0, 1.0))) is None  # the last block is too late
    assert found.solve(Candidate((0.0, 0.0, 0.0, 0.0))) is None
    assert family(vit, Picky()).solve(Candidate((1.0, 0.0, 0.0, 0.0))) is None
    assert family(vit, Picky()).solve(Candidate((1.0, 1.0, 0.0, 0.0))) is not None


def test_a_method_that_halves_at_most_is_asked_for_no_more(vit: nn.Module) -> None:
    solved = family(vit, ToMe(), budget="50%").solve(Candidate((1.0, 1.0, 1.0, 1.0)))
    assert solved is not None
    left = 256
    for _, keep in solved.stages:
        assert left - keep <= ToMe().most_removed(left)
        left = keep
    # removing three quarters at one block is beyond it
    assert family(vit, ToMe(), budget="40%").solve(Candidate((1.0, 0.0, 0.0, 0.0))) is None


def test_where_tokens_come_back_each_stretch_reduces_all_of_them_anew(vit: nn.Module) -> None:
    found = family(vit, RandomDrop(on_drop="skip", back=(2,)), budget="70%")
    solved = found.solve(Candidate((1.0, 0.0, 1.0, 0.0)))
    assert solved is not None
    (first, kept), (second, again) = solved.stages
    assert (first, second) == (0, 2)
    assert abs(kept - again) <= 2  # of 256 both times
    assert solved.reductions == pytest.approx((log(256 / kept), 0, log(256 / again), 0))


def test_a_model_whose_last_mlp_is_emptied_has_no_stage_there(vit: nn.Module) -> None:
    solved = family(vit, empty=True).solve(Candidate((1.0, 0.0, 0.0, 1.0)))
    assert solved is not None
    assert [block for block, _ in solved.stages] == [0]


def test_each_setting_is_solved_with_its_own_method(vit: nn.Module) -> None:
    class Costly(RandomDrop):
        def overhead_macs(self, shape: object, stage: Stage) -> int:
            return 2 * 10**6

    found = family(vit, RandomDrop(), Costly())
    cheap = found.solve(Candidate((0.0, 1.0, 0.0, 0.0)))
    dear = found.solve(Candidate((0.0, 1.0, 0.0, 0.0), setting=1))
    assert cheap is not None
    assert dear is not None
    assert dear.setting == 1
    assert dear.stages[0][1] < cheap.stages[0][1]
