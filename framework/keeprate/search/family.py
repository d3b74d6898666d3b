"""Solve candidates: schedules of a method that all cost the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import exp, floor, log

from ..backbone import Backbone
from ..costs import TOLERANCE, Budget
from ..errors import KeeprateError
from ..method import Method, Stage
from ..reduction.budget import solve
from ..reduction.macs import block_costs, count
from ..reduction.patch_count import PatchCount
from ..reduction.plan import make_plan
from ..strategy import Candidate, Solved

_STAGES = tuple[Stage, ...]
_ROUNDING = 1e-6
"""Added to a number of tokens, so that what is held keeps as many as before."""


@dataclass
class ScheduleFamily:
    """The schedules of `methods` (one for each setting of the parameters) on a model of images."""

    backbone: Backbone
    methods: Sequence[Method]
    budget: Budget
    empty_last_mlp: bool = False
    _solved: dict[tuple[Candidate, float], Solved | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._size = self.backbone.image_size
        self._patches = self.backbone.num_patches(self._size)
        self._blocks = block_costs(self.backbone)
        self._unpruned = count(self.backbone, self._size).total
        self.allowed = self.budget.of(self._unpruned)

    def blocks(self) -> tuple[int, ...]:
        """Return the blocks at which some setting saves something by removing half the tokens."""
        depth = self.backbone.depth
        halves = [(Stage(block, -(-self._patches // 2), depth),) for block in range(depth)]
        return tuple(
            block
            for block, half in enumerate(halves)
            if any(self._macs(method, half) < self._macs(method, ()) for method in self.methods)
        )

    def solve(self, candidate: Candidate, saving: float = 1.0) -> Solved | None:
        """Return the schedule of a candidate that saves this share of what the budget saves.

        It costs at most so much and at least half a per cent less; None if there is no such
        schedule, or the method cannot follow it.
        """
        if (candidate, saving) not in self._solved:
            self._solved[candidate, saving] = self._solve(candidate, saving)
        return self._solved[candidate, saving]

    def _solve(self, candidate: Candidate, saving: float) -> Solved | None:
        method = self.methods[candidate.setting]
        allowed = self._unpruned - round(saving * (self._unpruned - self.allowed))
        try:
            solution = solve(
                make=lambda scale: self._stages(method, candidate, scale),
                price=lambda stages: self._macs(method, stages),
                allowed=allowed,
                what=f"method '{method.name}'",
            )
            stages = self._filled(method, solution.found, allowed)
            macs = self._macs(method, stages)
            if not (1 - TOLERANCE) * allowed <= macs <= allowed:
                return None
            pairs = tuple((stage.block, stage.keep) for stage in stages)
            make_plan(
                self.backbone, method, counts_text(pairs), None, empty_last_mlp=self.empty_last_mlp
            )
        except KeeprateError:  # out of reach, or nothing that the method can follow
            return None
        return Solved(pairs, self._reductions(method, stages), macs, candidate.setting)

    def _stages(self, method: Method, candidate: Candidate, scale: float) -> _STAGES:
        depth, counted, total = self.backbone.depth, PatchCount(method, self._patches), 0.0
        held = candidate.held or (0.0,) * depth
        stages: list[Stage] = []
        for block, (fixed, free) in enumerate(zip(held, candidate.free, strict=True)):
            before, left = counted.left, counted.entering(block)
            if left > before:  # all that were set aside are back
                total = 0.0
            total += fixed + scale * free
            most = floor(self._patches * exp(-total) + _ROUNDING)
            keep = max(1, left - method.most_removed(left), most)
            if keep < left and (fixed or free) and not self._is_empty(block):
                stages.append(Stage(block, keep, depth, len(stages)))
                counted.reduce(keep)
        return tuple(stages)

    def _filled(self, method: Method, stages: _STAGES, allowed: int) -> _STAGES:
        """Spend what is left: a stage keeps one token more where that is still within the cost."""
        for number, stage in enumerate(stages):  # early stages first: their tokens cost most
            entering = self._entering(method, stages, number)
            for keep in range(stage.keep + 1, entering):
                tried = (*stages[:number], _keeping(stage, keep), *stages[number + 1 :])
                if self._macs(method, tried) > allowed:
                    break
                stages = tried
        return stages

    def _macs(self, method: Method, stages: _STAGES) -> int:
        return count(
            self.backbone,
            self._size,
            method,
            stages,
            empty_last_mlp=self.empty_last_mlp,
            blocks=self._blocks,
        ).total

    def _entering(self, method: Method, stages: _STAGES, number: int) -> int:
        """Return how many patch tokens enter a stage."""
        counted = PatchCount(method, self._patches)
        for stage in stages[:number]:
            counted.entering(stage.block)
            counted.reduce(stage.keep)
        return counted.entering(stages[number].block)

    def _reductions(self, method: Method, stages: _STAGES) -> tuple[float, ...]:
        reductions = [0.0] * self.backbone.depth
        for number, stage in enumerate(stages):
            reductions[stage.block] = log(self._entering(method, stages, number) / stage.keep)
        return tuple(reductions)

    def _is_empty(self, block: int) -> bool:
        return self.empty_last_mlp and block == self.backbone.depth - 1


def _keeping(stage: Stage, keep: int) -> Stage:
    return Stage(stage.block, keep, stage.depth, stage.number)


def counts_text(stages: Sequence[tuple[int, int]]) -> str:
    """Return stages, pairs of block and patch tokens kept, in the form that `--schedule` takes."""
    return ",".join(f"{keep}@{block}" for block, keep in stages)
