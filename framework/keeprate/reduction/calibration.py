"""Solve a budget on images, for a method that keeps a different number of tokens in every image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil

import torch
from torch import Tensor, nn

from ..backbone import Inputs
from ..costs import TOLERANCE, gmacs
from ..errors import KeeprateError
from ..method import Stage
from .batches import batch_size
from .budget import LARGEST_SCALE
from .input_sizes import fitted
from .macs import count
from .plan import Plan
from .reduced_model import ReducedModel

_CLOSE = TOLERANCE / 5
"""Share of the budget that may be left: each further halving is a pass, for less than chance."""


@dataclass(frozen=True)
class Calibrated:
    """The `scale` of a schedule that was found on images, and their mean cost with it."""

    scale: float
    macs: int
    budget_macs: int


@dataclass(frozen=True)
class _Trial:
    """The stages of each size at a scale; those of another scale may be the same."""

    stages: tuple[tuple[Stage, ...], ...]
    scale: float = field(compare=False)


def calibrate(model: ReducedModel, batches: Sequence[tuple[Inputs, Tensor | None]]) -> Calibrated:
    """Solve the budget of the model's plan so that the mean cost of these inputs meets it.

    `batches` are inputs on the model's device with the numbers (B,) of their samples. The scale is
    that of other budgets (`keeprate.reduction.budget`), found by halving an interval, and the cost
    that of the tokens that each image kept. The mean is never above the budget, and below it only
    by a thousandth, or because token counts are coarse, or because the method keeps no more.
    Raises KeeprateError for no inputs, and for a budget out of reach.
    """
    plan = model.plan
    sizes = _sizes(plan, [inputs for inputs, _ in batches])
    if not sizes:
        raise KeeprateError(f"Method '{plan.method.name}': there are no images to calibrate on.")
    known: dict[_Trial, int] = {}

    def at(scale: float) -> int:
        plan.settle(scale)
        trial = _Trial(tuple(plan.stages(size) for size in sizes), scale)
        if trial not in known:
            known[trial] = ceil(_total_macs(model, batches) / sizes.total())
        return known[trial]

    allowed = budget_macs(plan, sizes)
    bound = plan.bound_scale()
    with _evaluating(model), torch.inference_mode():
        scale = _search(at, allowed, bound)
        macs = at(scale)
    return Calibrated(scale, macs, allowed)


def budget_macs(plan: Plan, sizes: Mapping[tuple[int, int], int]) -> int:
    """Return the mean cost that the budget allows for samples of these sizes, counted by size.

    A share is one of the unpruned model, also of images made smaller.
    """
    assert plan.budget is not None
    if plan.resized is not None:
        return plan.budget.of(count(plan.own, plan.own.image_size).total)
    total = sum(count(plan.own, size).total * number for size, number in sizes.items())
    return plan.budget.of(total // sum(sizes.values()))


def _search(at: Callable[[float], int], allowed: int, high: float) -> float:
    """Return a scale at which the mean cost is within the budget and, if possible, close to it."""
    if at(0.0) <= allowed:
        return 0.0
    low, high = 0.0, high or 1 / 64
    while at(high) > allowed:
        low, high = high, 2 * high
        if high > LARGEST_SCALE:
            raise KeeprateError(
                f"A budget of {gmacs(allowed)} is out of reach: the images of the calibration cost "
                f"{gmacs(at(low))} at least."
            )
    for _ in range(64):  # a float64 has 53 bits: more halvings change nothing
        if at(high) >= (1 - _CLOSE) * allowed:
            break
        middle = (low + high) / 2
        low, high = (low, middle) if at(middle) <= allowed else (middle, high)
    return high


def _total_macs(model: ReducedModel, batches: Sequence[tuple[Inputs, Tensor | None]]) -> int:
    total = 0
    for inputs, index in batches:
        model(inputs, index)
        total += int(model.macs_per_image.total.sum())
    return total


def _sizes(plan: Plan, batches: Sequence[Inputs]) -> Counter[tuple[int, int]]:
    """Count the inputs of each size at which the model runs."""
    sizes: Counter[tuple[int, int]] = Counter()
    for inputs in batches:
        seen = fitted(inputs, plan)
        whole = [(range(batch_size(seen)), seen)]
        for rows, part in plan.backbone.parts(seen) or whole:
            sizes[plan.backbone.input_size(part)] += len(rows)
    return sizes


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode, and its parts back into the modes that they had."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
