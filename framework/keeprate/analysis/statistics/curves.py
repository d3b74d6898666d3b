"""Accuracy over cost: read it off a method's curve, average it over a range, and compare it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...costs import gmacs
from ...errors import KeeprateError
from .bootstrap import BootstrapEstimate
from .seeds import Difference, difference, mean_over_seeds

_Weights = NDArray[np.float64]  # (P,): what each point of a curve counts


@dataclass(frozen=True)
class Curve:
    """The runs of one method at several costs, on the same images in the same order.

    `costs` are multiply-accumulates per image, (P,), ascending; `outcomes` are (P, S, N) for S
    seeds and N images, within `bounds` (see `mean_over_seeds`). Between two costs the curve is a
    straight line: each of its points is what one gets by sending some images, at random, through
    the dearer run and the others through the cheaper one. With straight lines every figure of a
    curve is also a mean over images, so the correlation of its points, which share their images, is
    taken into account.
    """

    costs: NDArray[np.float64]
    outcomes: NDArray[np.float64]
    bounds: tuple[float, float] | None = (0.0, 1.0)

    @classmethod
    def of(
        cls,
        points: Iterable[tuple[float, ArrayLike]],
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> Curve:
        """Make a curve of (cost, outcomes) in any order, with outcomes (N,) or (S, N).

        The outcomes of a single run, such as the unpruned model's, serve every seed of the others.
        Raises KeeprateError for costs that occur twice and for seeds that do not match, ValueError
        for no points and for different numbers of images.
        """
        ordered = sorted(points, key=lambda point: point[0])
        outcomes = [np.atleast_2d(np.asarray(values, dtype=np.float64)) for _, values in ordered]
        if len({values.shape[-1] for values in outcomes}) != 1:
            raise ValueError("a curve needs points, all on the same images")
        costs = [float(cost) for cost, _ in ordered]
        _check(costs, {len(values) for values in outcomes})
        seeds = max(len(values) for values in outcomes)
        shape = (seeds, outcomes[0].shape[-1])
        return cls(
            np.array(costs),
            np.stack([np.broadcast_to(values, shape) for values in outcomes]),
            bounds,
        )

    @property
    def limit(self) -> float | None:
        """The largest difference of an image, None where it is unknown."""
        return self.bounds[1] - self.bounds[0] if self.bounds else None

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest cost, multiply-accumulates per image."""
        return float(self.costs[0]), float(self.costs[-1])

    def combined(self, weights: _Weights) -> NDArray[np.float64]:
        """Return the weighted sum of the points for each seed and image, (S, N)."""
        return np.asarray(np.einsum("p,psn->sn", weights, self.outcomes))


@dataclass(frozen=True)
class Missing:
    """A figure that cannot be computed from the runs, with the reason."""

    reason: str


def accuracy_at(curve: Curve, budget: float, level: float = 0.95) -> BootstrapEstimate | Missing:
    """Return the accuracy (share) at `budget` multiply-accumulates per image, by straight lines.

    Returns Missing outside the costs that were run: nothing is extrapolated. The interval is that
    of `mean_over_seeds`; it does not cover the bend of a true curve between two costs.
    """
    reason = _outside(curve, budget)
    if reason:
        return Missing(reason)
    return mean_over_seeds(curve.combined(_reading(curve.costs, budget)), level, curve.bounds)


def difference_at(a: Curve, b: Curve, budget: float, level: float = 0.95) -> Difference | Missing:
    """Return how much more accurate (share) `a` is than `b` at `budget`.

    Returns Missing where either curve has no costs on both sides of the budget. See `accuracy_at`
    and `difference`. Raises ValueError unless the curves have the same number of images.
    """
    reason = _outside(a, budget) or _outside(b, budget)
    if reason:
        return Missing(reason)
    first, second = (curve.combined(_reading(curve.costs, budget)) for curve in (a, b))
    return difference(first, second, level, a.limit)


def common_range(curves: Iterable[Curve]) -> tuple[float, float] | None:
    """Return the range of multiply-accumulates per image that all curves cover, None without."""
    ranges = [curve.range for curve in curves]
    low = max((low for low, _ in ranges), default=0.0)
    high = min((high for _, high in ranges), default=0.0)
    return (low, high) if low < high else None


def area_under_curve(
    curve: Curve, costs: tuple[float, float] | None = None, level: float = 0.95
) -> BootstrapEstimate | Missing:
    """Return the mean accuracy (share) over the range `costs`: the area divided by the range.

    Without `costs` the range is the whole curve; use `common_range` to compare methods. Returns
    Missing where the curve does not cover the range, or the range is empty. The interval is that
    of `mean_over_seeds`.
    """
    low, high = costs or curve.range
    reason = _not_spanned([curve], low, high)
    if reason:
        return Missing(reason)
    return mean_over_seeds(curve.combined(_area(curve.costs, low, high)), level, curve.bounds)


def area_difference(
    a: Curve, b: Curve, costs: tuple[float, float] | None = None, level: float = 0.95
) -> Difference | Missing:
    """Return how much larger the mean accuracy (share) of `a` is than that of `b`.

    Both are taken over the range `costs`; without it, over the range that both cover. Returns
    Missing where one of the curves does not cover the range. Interval and test are those of
    `difference`. Raises ValueError unless the curves have the same number of images.
    """
    shared = costs or common_range([a, b])
    if shared is None:
        return Missing("the two curves share no range of costs")
    reason = _not_spanned([a, b], *shared)
    if reason:
        return Missing(reason)
    first, second = (curve.combined(_area(curve.costs, *shared)) for curve in (a, b))
    return difference(first, second, level, a.limit)


def _check(costs: list[float], seeds: set[int]) -> None:
    repeated = next((low for low, high in pairwise(costs) if low == high), None)
    if repeated is not None:
        raise KeeprateError(
            f"Two runs of one curve cost {gmacs(repeated)}: leave one out, or join them as seeds."
        )
    if len(seeds - {1}) > 1:  # a single run, such as the unpruned one, serves every seed
        counts = " and ".join(map(str, sorted(seeds)))
        raise KeeprateError(f"The runs of one curve have {counts} seeds: run all with as many.")


def _outside(curve: Curve, budget: float) -> str:
    """Say why the accuracy at `budget` is unknown, or return an empty text."""
    low, high = curve.range
    if low <= budget <= high:
        return ""
    return f"{gmacs(budget)} is outside the costs that were run, {gmacs(low)} to {gmacs(high)}"


def _not_spanned(curves: Iterable[Curve], low: float, high: float) -> str:
    if low >= high:
        return f"no area from {gmacs(low)} to {gmacs(high)}: at least two costs are needed"
    reasons = (_outside(curve, cost) for curve in curves for cost in (low, high))
    return next(filter(None, reasons), "")


def _reading(costs: NDArray[np.float64], budget: float) -> _Weights:
    """Return each point's weight at `budget`: only its two neighbours count, the nearer more."""
    # interpolation is linear, so that of the unit vectors gives the weights
    return np.array([np.interp(budget, costs, point) for point in np.eye(len(costs))])


def _area(costs: NDArray[np.float64], low: float, high: float) -> _Weights:
    """Return each point's weight in the mean from `low` to `high`, by the trapezoid rule."""
    inner = costs[(costs > low) & (costs < high)]
    knots = np.concatenate([[low], inner, [high]])
    readings = np.stack([_reading(costs, knot) for knot in knots])  # (K, P)
    widths = np.diff(knots)[:, None]  # (K - 1, 1)
    area: _Weights = (widths * (readings[1:] + readings[:-1]) / 2).sum(axis=0)
    return area / (high - low)
