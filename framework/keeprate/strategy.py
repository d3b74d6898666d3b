"""The interface of a search strategy, which chooses the schedules that a search tries."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Candidate:
    """A family of schedules with one free number, and the `setting` of parameters that it is for.

    Block b keeps the share exp(-(held[b] + s * free[b])) of the patch tokens that enter it; s is
    solved so that the whole costs what the search allows. Both have a number for each block of the
    model, none below 0; `held` is empty where nothing is held.
    """

    free: tuple[float, ...]
    held: tuple[float, ...] = ()
    setting: int = 0


@dataclass(frozen=True)
class ScheduleTrial:
    """A candidate to be tried.

    `share` is the share of the search's images that it is judged on. `saving` is the share of what
    the budget saves that its cost has to save: below 1 the schedule is only a step on the way.
    """

    candidate: Candidate
    share: float = 1.0
    saving: float = 1.0


@dataclass(frozen=True)
class Solved:
    """The schedule of a candidate: `stages` are pairs of block (from 0) and patch tokens kept.

    `reductions` has minus the logarithm of the share that each block keeps; `macs` is the cost of
    an image, overhead included.
    """

    stages: tuple[tuple[int, int], ...]
    reductions: tuple[float, ...]
    macs: int
    setting: int = 0


@dataclass(frozen=True)
class Judged:
    """A trial with its schedule and its `loss`, the lower the better; infinite if it failed."""

    trial: ScheduleTrial
    solved: Solved
    loss: float


@dataclass(frozen=True)
class Space:
    """What a strategy chooses from.

    The model has `depth` blocks; reducing tokens saves something at `blocks`. The method has
    `settings` of its parameters, numbered from 0. The user asked for about `candidates` schedules.
    `solve` returns the schedule of a candidate at a saving, None where there is none that costs
    this to within half a per cent.
    """

    depth: int
    blocks: tuple[int, ...]
    candidates: int
    settings: int
    solve: Callable[[Candidate, float], Solved | None]


class Strategy(ABC):
    """Chooses which schedules are tried, from what came out of those before.

    To offer one, subclass, set `name`, write a docstring whose first sentence describes it, and
    return the class from the hook `keeprate_strategies`. Typed constructor arguments are its
    parameters: `--strategy monte-carlo:seed=1`. Nothing may be kept between calls, and the same
    history must give the same trials: an interrupted search is repeated from its beginning, and
    takes what was computed from the store.
    """

    name: ClassVar[str]
    is_default: ClassVar[bool] = False
    """True for the strategy that is used if the user names none."""

    @abstractmethod
    def ask(self, space: Space, history: Sequence[Judged]) -> Sequence[ScheduleTrial]:
        """Return the next trials, which are judged together; none when the search is over.

        `history` has all trials that were judged, in the order in which they were asked for; it is
        empty at first. Trials whose candidate has no schedule (`space.solve`) are left out of it.
        The best trial of the whole budget on all images is what the search finds.
        """
