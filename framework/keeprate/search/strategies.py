"""The search strategies that come with keeprate."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from random import Random
from typing import ClassVar, Final

from ..errors import KeeprateError
from ..hookspecs import hookimpl
from ..plugins.parameters import build, parse_spec
from ..plugins.registry import registry
from ..strategy import Candidate, Judged, ScheduleTrial, Space, Strategy

_TRIES: Final = 100
"""Schedules drawn for each that is wanted: few blocks and tokens meet a cost only now and then."""


class MonteCarlo(Strategy):
    """Tries random schedules: any number of stages, at random blocks, of random sizes."""

    name: ClassVar[str] = "monte-carlo"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def ask(self, space: Space, history: Sequence[Judged]) -> Sequence[ScheduleTrial]:
        """Return all trials at once: none depends on another."""
        if history:
            return ()
        return [ScheduleTrial(candidate) for candidate in drawn(space, space.candidates, self.seed)]


class Halving(Strategy):
    """Tries random schedules on a few images, and the best of them on more and more images."""

    name: ClassVar[str] = "halving"

    def __init__(self, rounds: int = 3, one_in: int = 3, seed: int = 0) -> None:
        if rounds < 1 or one_in < 2:
            raise KeeprateError("rounds must be at least 1 and one_in at least 2")
        self.rounds, self.one_in, self.seed = rounds, one_in, seed

    def ask(self, space: Space, history: Sequence[Judged]) -> Sequence[ScheduleTrial]:
        """Return one in so many of the last round, on so many times as many images."""
        shares = [self.one_in ** (number + 1 - self.rounds) for number in range(self.rounds)]
        if not history:
            wanted = drawn(space, space.candidates, self.seed)
            return [ScheduleTrial(candidate, shares[0]) for candidate in wanted]
        share = history[-1].trial.share
        if share == shares[-1]:
            return ()
        last = [one for one in history if one.trial.share == share and isfinite(one.loss)]
        best = sorted(last, key=lambda judged: judged.loss)[: -(-len(last) // self.one_in)]
        next_share = shares[shares.index(share) + 1]
        return [ScheduleTrial(judged.trial.candidate, next_share) for judged in best]


class Greedy(Strategy):
    """Removes a few tokens at a time, at the block where that costs least of what is measured.

    The way to the budget is cut into equal steps of cost. In each step, every block is tried as the
    one that removes more, and the best is kept.
    """

    name: ClassVar[str] = "greedy"
    is_default: ClassVar[bool] = True

    def ask(self, space: Space, history: Sequence[Judged]) -> Sequence[ScheduleTrial]:
        """Return the next step of every setting of the parameters, block by block."""
        steps = max(2, round(space.candidates / (len(space.blocks) * space.settings)))
        return [
            trial
            for setting in range(space.settings)
            for trial in _next_step(
                space, steps, setting, [one for one in history if one.solved.setting == setting]
            )
        ]


def _next_step(
    space: Space, steps: int, setting: int, history: Sequence[Judged]
) -> Sequence[ScheduleTrial]:
    """Return a trial for every block that can remove enough more, () at the end of the way."""
    saving = history[-1].trial.saving if history else 0.0
    last = [judged for judged in history if judged.trial.saving == saving]
    held = min(last, key=lambda judged: judged.loss).solved.reductions if last else ()
    # few tokens may reach no cost of the next step, but one of a later step
    for step in range(round(saving * steps) + 1, steps + 1):
        trials = [
            ScheduleTrial(_more_at(block, held, space.depth, setting), saving=step / steps)
            for block in space.blocks
        ]
        if found := [trial for trial in trials if space.solve(trial.candidate, trial.saving)]:
            return found
    return ()


def _more_at(block: int, held: tuple[float, ...], depth: int, setting: int) -> Candidate:
    return Candidate(tuple(float(other == block) for other in range(depth)), held, setting)


def drawn(space: Space, count: int, seed: int) -> list[Candidate]:
    """Return random candidates with different schedules, fewer where not so many are found."""
    random = Random(seed)
    found: dict[object, Candidate] = {}
    for _ in range(_TRIES * count):
        if len(found) == count:
            break
        candidate = _draw(space, random)
        solved = space.solve(candidate, 1.0)
        if solved is not None:
            found.setdefault((solved.setting, solved.stages), candidate)
    return list(found.values())


def _draw(space: Space, random: Random) -> Candidate:
    blocks = random.sample(space.blocks, random.randint(1, len(space.blocks)))
    free = [0.0] * space.depth
    for block in blocks:
        free[block] = random.expovariate(1.0)
    return Candidate(tuple(free), setting=random.randrange(space.settings))


@hookimpl
def keeprate_strategies() -> list[type[Strategy]]:
    """Return the strategies."""
    return [Greedy, Halving, MonteCarlo]


def build_strategy(text: str | None) -> Strategy:
    """Return the strategy that `name:parameter=value` names, the default one for None.

    Raises KeeprateError for unknown names and parameters that do not fit.
    """
    if text is not None:
        name, values = parse_spec(text)
        return build("strategy", registry().strategy(name), values)
    for offer in registry().strategies.values():
        if offer.cls.is_default:
            return offer.cls()
    raise KeeprateError("No strategy is the default one here: name one with --strategy.")
