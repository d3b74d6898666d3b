"""Strategies are functions of what was judged before: their trials are worked out by hand here."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from keeprate import KeeprateError
from keeprate.search.strategies import Greedy, Halving, MonteCarlo, build_strategy, drawn
from keeprate.strategy import Candidate, Judged, ScheduleTrial, Solved, Space, Strategy

Solve = Callable[[Candidate, float], Solved | None]


def solved(candidate: Candidate, saving: float) -> Solved:
    """A saving of 1 takes a reduction of 1 in all, wherever it is."""
    held = candidate.held or (0.0,) * len(candidate.free)
    scale = (saving - sum(held)) / sum(candidate.free)
    reductions = tuple(h + scale * f for h, f in zip(held, candidate.free, strict=True))
    stages = tuple(
        (block, round(100 * math.exp(-sum(reductions[: block + 1]))))
        for block, reduction in enumerate(reductions)
        if reduction
    )
    return Solved(stages, reductions, 1000, candidate.setting)


def space(
    blocks: Sequence[int] = (0, 1, 2, 3),
    candidates: int = 8,
    settings: int = 1,
    solve: Solve = solved,
) -> Space:
    return Space(4, tuple(blocks), candidates, settings, solve)


def play(
    strategy: Strategy, where: Space, loss: Callable[[Solved, float], float]
) -> list[list[Judged]]:
    """Every round of a search in which a schedule's loss is known."""
    history: list[Judged] = []
    rounds = []
    while trials := strategy.ask(where, history):
        judged = []
        for trial in trials:
            found = where.solve(trial.candidate, trial.saving)
            assert found is not None
            judged.append(Judged(trial, found, loss(found, trial.share)))
        rounds.append(judged)
        history += judged
    return rounds


def test_monte_carlo_asks_once_for_different_schedules_at_the_whole_budget() -> None:
    (trials,) = play(MonteCarlo(), space(candidates=20), lambda found, share: 0.0)
    assert len({judged.solved.stages for judged in trials}) == 20
    assert {(judged.trial.share, judged.trial.saving) for judged in trials} == {(1.0, 1.0)}


def test_a_seed_gives_the_same_schedules_and_another_seed_others() -> None:
    first = MonteCarlo(seed=1).ask(space(), ())
    assert MonteCarlo(seed=1).ask(space(), ()) == first
    assert MonteCarlo(seed=2).ask(space(), ()) != first


def test_schedules_are_drawn_at_the_blocks_that_save_something_and_for_all_settings() -> None:
    found = drawn(space(blocks=(1, 3), candidates=30, settings=3), 30, seed=0)
    assert {block for one in found for block, free in enumerate(one.free) if free} == {1, 3}
    assert {one.setting for one in found} == {0, 1, 2}
    assert {sum(map(bool, one.free)) for one in found} == {1, 2}  # any number of stages


def test_what_cannot_be_solved_is_not_drawn() -> None:
    def late_alone(candidate: Candidate, saving: float) -> Solved | None:
        return None if candidate.free[0] else solved(candidate, saving)

    assert all(one.free[0] == 0 for one in drawn(space(solve=late_alone), 8, seed=0))
    assert drawn(space(solve=lambda candidate, saving: None), 8, seed=0) == []


def test_halving_keeps_the_best_third_and_shows_it_three_times_as_many_images() -> None:
    rounds = play(
        Halving(rounds=3, one_in=3), space(candidates=9), lambda found, share: found.stages[0][1]
    )
    assert [len(judged) for judged in rounds] == [9, 3, 1]
    assert [judged[0].trial.share for judged in rounds] == pytest.approx([1 / 9, 1 / 3, 1])
    losses = sorted(judged.loss for judged in rounds[0])
    assert [judged.loss for judged in rounds[1]] == losses[:3]
    assert rounds[2][0].loss == losses[0]


def test_halving_leaves_a_failed_schedule_behind() -> None:
    rounds = play(
        Halving(rounds=2, one_in=2),
        space(candidates=12),
        lambda found, share: math.inf if found.stages[0][0] == 0 else 1.0,
    )
    assert all(judged.loss == 1.0 for judged in rounds[1])


def test_halving_in_one_round_is_monte_carlo() -> None:
    wanted = [trial.candidate for trial in MonteCarlo().ask(space(), ())]
    trials = Halving(rounds=1).ask(space(), ())
    assert [(trial.candidate, trial.share) for trial in trials] == [(one, 1.0) for one in wanted]


def test_greedy_goes_in_equal_steps_and_keeps_the_block_that_loses_least() -> None:
    # a loss that grows with the square of each block's reduction, fastest at the first block
    prices = (8.0, 4.0, 1.0, 2.0)

    def loss(found: Solved, share: float) -> float:
        return sum(price * part**2 for price, part in zip(prices, found.reductions, strict=True))

    rounds = play(Greedy(), space(candidates=8), loss)  # 8 trials at 4 blocks: two steps
    assert [len(judged) for judged in rounds] == [4, 4]
    assert [judged[0].trial.saving for judged in rounds] == [0.5, 1.0]
    # first step: half at block 2 costs .25; then it: .25 at 3 makes .25 + .5, at 2 1, at 1 1.25
    assert rounds[1][0].trial.candidate.held == (0.0, 0.0, 0.5, 0.0)
    best = min(rounds[1], key=lambda judged: judged.loss)
    assert best.solved.reductions == (0.0, 0.0, 0.5, 0.5)
    assert best.loss == 0.75


def test_greedy_passes_over_a_step_that_no_block_can_reach() -> None:
    def coarse(candidate: Candidate, saving: float) -> Solved | None:
        return None if saving == 0.5 else solved(candidate, saving)

    rounds = play(Greedy(), space(candidates=16, solve=coarse), lambda found, share: 0.0)
    assert [judged[0].trial.saving for judged in rounds] == [0.25, 0.75, 1.0]


def test_greedy_goes_its_way_for_each_setting() -> None:
    def loss(found: Solved, share: float) -> float:
        return -found.reductions[3 if found.setting else 0]

    rounds = play(Greedy(), space(candidates=16, settings=2), loss)
    assert [len(judged) for judged in rounds] == [8, 8]
    held = {judged.solved.setting: judged.trial.candidate.held for judged in rounds[1]}
    assert held == {0: (0.5, 0.0, 0.0, 0.0), 1: (0.0, 0.0, 0.0, 0.5)}


def test_a_strategy_is_named_with_its_parameters() -> None:
    strategy = build_strategy("halving:rounds=2,one_in=4,seed=7")
    assert isinstance(strategy, Halving)
    assert (strategy.rounds, strategy.one_in, strategy.seed) == (2, 4, 7)
    assert isinstance(build_strategy(None), Strategy)
    with pytest.raises(KeeprateError, match=r"No strategy 'halfing'. Did you mean 'halving'\?"):
        build_strategy("halfing")
    with pytest.raises(KeeprateError, match="rounds must be at least 1"):
        build_strategy("halving:rounds=0")


def test_a_trial_asks_for_everything_where_it_says_nothing() -> None:
    assert ScheduleTrial(Candidate((1.0,))) == ScheduleTrial(
        Candidate((1.0,)), share=1.0, saving=1.0
    )
