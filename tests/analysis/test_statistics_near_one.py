"""Where nearly every image is right, intervals hold the truth, and fail to both sides."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from keeprate.analysis.statistics import (
    BootstrapEstimate,
    Curve,
    Missing,
    accuracy_at,
    area_difference,
    area_under_curve,
    difference,
    mean_over_seeds,
)
from statistics_factory import Outcomes, World, draws

COSTS = (1.0, 2.0, 4.0)
Read = Callable[[list[Outcomes]], BootstrapEstimate | Missing]


def curve(outcomes: list[Outcomes]) -> Curve:
    return Curve.of(zip(COSTS, outcomes, strict=True))


def height(shares: list[float]) -> float:
    return (shares[0] + 3 * shares[1] + 2 * shares[2]) / 6


QUESTIONS: dict[str, tuple[Read, Callable[[list[float]], float]]] = {
    "run": (lambda x: mean_over_seeds(x[1]), lambda p: p[1]),
    "between": (lambda x: accuracy_at(curve(x[:3]), 1.4), lambda p: 0.6 * p[0] + 0.4 * p[1]),
    "area": (lambda x: area_under_curve(curve(x[:3])), height),
    "difference": (lambda x: difference(x[1], x[0]), lambda p: p[1] - p[0]),
    "equal": (lambda x: difference(x[1], x[4]), lambda p: 0.0),
    "areas": (lambda x: area_difference(curve(x[3:]), curve(x[:3])), lambda p: 0.0),
}


def test_areas_of_correlated_runs_near_100_percent_hold_the_truth() -> None:
    world, shares, held = World(images=500, ease=2.0), [0.993, 0.995, 0.996], []
    for random in draws(43, 300):
        eases = world.eases(random)
        data = [world.outcomes(random, world.strength(share), eases) for share in shares]
        found = area_under_curve(curve(data))
        assert isinstance(found, BootstrapEstimate)
        held.append(found.low <= height(shares) <= found.high)
    assert np.mean(held) >= 0.93


@pytest.mark.parametrize(("share", "images"), [(0.9, 500), (0.99, 600), (0.995, 500), (0.995, 600)])
def test_a_run_near_100_percent_holds_the_truth_exactly(share: float, images: int) -> None:
    """Every number of right images, with its chance, so that nothing is drawn."""
    missed = dict.fromkeys(("below", "above"), 0.0)
    for right in range(images + 1):
        chance = float(binom.pmf(right, images, share))
        if chance > 1e-8:
            found = mean_over_seeds(np.arange(images) < right)
            missed["below"] += chance * (found.high < share)
            missed["above"] += chance * (found.low > share)
    assert 0.93 <= 1 - sum(missed.values()) <= 0.97
    assert max(missed.values()) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("ease", [0.0, 2.0], ids=["independent", "correlated"])
@pytest.mark.parametrize(("share", "images"), [(0.9, 500), (0.99, 600), (0.995, 500)])
def test_intervals_near_100_percent_hold_the_truth(share: float, images: int, ease: float) -> None:
    world = World(images=images, ease=ease)
    shares = [1 - factor * (1 - share) for factor in (1.4, 1.0, 0.8)]
    strengths = [world.strength(each) for each in shares * 2]
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in QUESTIONS}
    for random in draws(41, 500):
        eases = world.eases(random)
        data = [world.outcomes(random, strength, eases) for strength in strengths]
        for name, (read, _) in QUESTIONS.items():
            found = read(data)
            assert isinstance(found, BootstrapEstimate)
            ends[name].append((found.low, found.high))
    for name, (_, true) in QUESTIONS.items():
        low, high = np.array(ends[name]).T
        below, above = np.mean(high < true(shares)), np.mean(low > true(shares))
        # 500 data sets: two standard errors of 95 % are 1.9 points
        assert 1 - below - above >= 0.93, name
        assert max(below, above) <= 0.06, name


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.9, 0.99, 0.995])
def test_seeds_near_100_percent(share: float) -> None:
    world = World(images=600, ease=2.0, seeds=3)
    held = []
    for random in draws(42, 500):
        found = mean_over_seeds(world.outcomes(random, world.strength(share), world.eases(random)))
        held.append(found.low <= share <= found.high)
    assert np.mean(held) >= 0.93


def test_a_divergence_of_exactly_zero_claims_nothing_about_other_images() -> None:
    """Nothing bounds a divergence, so no width can be told: docs/statistics.md says so."""
    found = mean_over_seeds(np.zeros(100), bounds=None)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    equal = difference(np.zeros(100), np.zeros(100), limit=None)
    assert (equal.value, equal.low, equal.high, equal.p_value) == (0, 0, 0, 1)
    assert math.isclose(difference(np.ones(100), np.ones(100)).high, 0.037, abs_tol=1e-3)
