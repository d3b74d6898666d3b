"""Of 1000 simulated data sets, 95 % intervals hold the truth in about 950, and tests err in 50."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest

from keeprate.analysis.statistics import (
    BootstrapEstimate,
    Curve,
    Missing,
    accuracy_at,
    area_difference,
    area_under_curve,
    bootstrap_mean,
    compare_runs,
    difference,
    difference_at,
    mean_over_seeds,
    paired_bootstrap,
)
from statistics_factory import Outcomes, World, draws

pytestmark = pytest.mark.slow

LUCKY = [World(seeds=3), World(seeds=5), World(seeds=3, luck=0.1), World(seeds=5, luck=0.1)]
COSTS = (1.0, 2.0, 4.0)
STRENGTHS = (0.2, 0.9, 1.3)
OTHERS = (0.1, 1.0, 1.25)


def coverage(found: Iterable[BootstrapEstimate | Missing], truth: float) -> float:
    """The share of the intervals that hold the truth."""
    held = []
    for each in found:
        assert isinstance(each, BootstrapEstimate), each
        held.append(each.low <= truth <= each.high)
    return float(np.mean(held))


def curve(world: World, random: np.random.Generator, eases: Outcomes, at: Iterable[float]) -> Curve:
    """The seeds of one method have the same luck at every cost."""
    lucks = world.lucks(random)
    runs = [world.outcomes(random, strength, eases, lucks) for strength in at]
    return Curve.of(zip(COSTS, runs, strict=True))


def curves(world: World, seed: int) -> Iterable[tuple[Curve, Curve]]:
    for random in draws(seed):
        eases = world.eases(random)
        yield curve(world, random, eases, STRENGTHS), curve(world, random, eases, OTHERS)


def truths(world: World, at: Iterable[float]) -> list[float]:
    return [world.truth(strength) for strength in at]


def mean_height(heights: list[float]) -> float:
    """Of the line through these at COSTS, from 1 to 4."""
    return (1 * (heights[0] + heights[1]) / 2 + 2 * (heights[1] + heights[2]) / 2) / 3


@pytest.mark.parametrize("images", [200, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("only_a", "only_b"), [(0.05, 0.05), (0.02, 0.08), (0.10, 0.30)])
def test_paired_bootstrap_of_outcomes(images: int, only_a: float, only_b: float) -> None:
    chances = [only_a, only_b, 1 - only_a - only_b]
    kinds = (random.choice(3, size=images, p=chances) for random in draws(21))
    found = (paired_bootstrap(kind == 0, kind == 1, limit=1) for kind in kinds)
    assert 0.93 <= coverage(found, only_a - only_b) <= 0.97


def test_bootstrap_of_a_skewed_quantity() -> None:
    """Divergences have long tails: gamma of shape 0.3, whose skewness is 3.7."""
    found = (bootstrap_mean(random.gamma(0.3, size=500)) for random in draws(22))
    assert 0.93 <= coverage(found, 0.3) <= 0.97


@pytest.mark.parametrize("world", LUCKY, ids=str)
@pytest.mark.parametrize("strength", [0.5, 1.6])
def test_means_over_seeds(world: World, strength: float) -> None:
    """Where seeds have no luck, a variance that is never less than none adds up to 2 %."""
    found = (
        mean_over_seeds(world.outcomes(random, strength, world.eases(random)))
        for random in draws(23)
    )
    assert 0.93 <= coverage(found, world.truth(strength)) <= 0.98


@pytest.mark.parametrize("other", [World(), World(seeds=3, luck=0.1)], ids=["one", "three"])
@pytest.mark.parametrize("world", LUCKY, ids=str)
def test_differences_over_seeds(world: World, other: World) -> None:
    def pairs() -> Iterable[tuple[Outcomes, Outcomes]]:
        for random in draws(24):
            eases = world.eases(random)
            yield world.outcomes(random, 1.2, eases), other.outcomes(random, 1.0, eases)

    truth = world.truth(1.2) - other.truth(1.0)
    assert 0.93 <= coverage((difference(a, b) for a, b in pairs()), truth) <= 0.98


READ: list[
    tuple[str, Callable[[Curve, Curve], BootstrapEstimate | Missing], Callable[..., float]]
] = [
    ("at", lambda a, b: accuracy_at(a, 1.4), lambda a, b: 0.6 * a[0] + 0.4 * a[1]),
    ("area", lambda a, b: area_under_curve(a), lambda a, b: mean_height(a)),
    (
        "difference at",
        lambda a, b: difference_at(a, b, 3.0),
        lambda a, b: (a[1] + a[2] - b[1] - b[2]) / 2,
    ),
    ("areas", area_difference, lambda a, b: mean_height(a) - mean_height(b)),
]


@pytest.mark.parametrize(
    "world",
    [pytest.param(World(), marks=pytest.mark.slow), World(seeds=3, luck=0.1)],
    ids=["one", "three"],
)
@pytest.mark.parametrize(("read", "true"), [each[1:] for each in READ], ids=[r[0] for r in READ])
def test_curves(
    world: World,
    read: Callable[[Curve, Curve], BootstrapEstimate | Missing],
    true: Callable[..., float],
) -> None:
    found = (read(a, b) for a, b in curves(world, 25))
    assert 0.93 <= coverage(found, true(truths(world, STRENGTHS), truths(world, OTHERS))) <= 0.97


@pytest.mark.parametrize("world", [World(), *LUCKY], ids=str)
def test_equal_runs_are_called_different_in_at_most_6_of_100(world: World) -> None:
    """Against a single run of the same true accuracy: McNemar's test, and Student's for seeds."""
    alone = World()
    errors = 0
    for random in draws(26):
        eases = world.eases(random)
        a = world.outcomes(random, world.strength(0.7), eases)
        errors += difference(a, alone.outcomes(random, alone.strength(0.7), eases)).p_value <= 0.05
    assert 10 <= errors <= 60


def test_equal_divergences_are_called_different_in_about_5_of_100() -> None:
    errors = 0
    for random in draws(27):
        a, b = random.gamma(0.3, size=(2, 500))
        errors += difference(a, b, limit=None).p_value <= 0.05
    assert 40 <= errors <= 60


@pytest.mark.slow
def test_five_runs_equal_to_the_reference_rarely_raise_any_alarm() -> None:
    world = World(images=150)
    alarms = 0
    uncorrected = 0
    for random in draws(28):
        eases = world.eases(random)
        runs = {str(n): world.outcomes(random, 1.0, eases)[0] for n in range(5)}
        found = compare_runs(runs, world.outcomes(random, 1.0, eases)[0]).values()
        alarms += any(each.distinguishable for each in found)
        uncorrected += any(each.p_value <= 0.05 for each in found)
    assert alarms <= 60
    assert uncorrected > 100


def test_a_real_difference_is_found() -> None:
    world = World(seeds=3, luck=0.05)
    found = 0
    for random in draws(29, 200):
        eases = world.eases(random)
        a, b = (world.outcomes(random, strength, eases) for strength in (1.4, 1.0))
        found += compare_runs({"a": a}, b)["a"].verdict.startswith("better by")
    assert found > 150


def resampled(values: Outcomes, random: np.random.Generator) -> BootstrapEstimate:
    """Percentiles of 1000 means over images and seeds both drawn with replacement."""
    seeds, images = values.shape
    of_images = random.multinomial(images, np.full(images, 1 / images), size=1000) / images
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=1000) / seeds
    means = ((of_images @ values.T) * of_seeds).sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return BootstrapEstimate(float(values.mean()), float(low), float(high))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "ours", "drawn", "images_alone"),
    [
        (World(seeds=3), (0.95, 0.98), (0.97, 1.0), (0.93, 0.97)),
        (World(seeds=3, luck=0.1), (0.94, 0.97), (0.95, 0.99), (0.85, 0.93)),
        (World(seeds=3, luck=0.3), (0.92, 0.96), (0.80, 0.90), (0.60, 0.75)),
        (World(seeds=5, luck=0.3), (0.93, 0.97), (0.88, 0.94), (0.60, 0.80)),
        (World(seeds=2, luck=0.3), (0.87, 0.93), (0.75, 0.87), (0.60, 0.75)),
    ],
    ids=str,
)
def test_why_seeds_are_not_resampled(
    world: World,
    ours: tuple[float, float],
    drawn: tuple[float, float],
    images_alone: tuple[float, float],
) -> None:
    """Resampling promises too much where few seeds differ, and too little where they do not."""
    values = []
    for random in draws(30):
        eases = world.eases(random)
        values.append(world.outcomes(random, 1.2, eases) - World().outcomes(random, 1.0, eases))
    truth = world.truth(1.2) - World().truth(1.0)
    nothing = np.zeros(world.images)
    random = np.random.default_rng(31)
    shares = [
        coverage((difference(each, nothing, limit=None) for each in values), truth),
        coverage((resampled(each, random) for each in values), truth),
        coverage((bootstrap_mean(each.mean(axis=0)) for each in values), truth),
    ]
    for share, (low, high) in zip(shares, (ours, drawn, images_alone), strict=True):
        assert low <= share <= high
