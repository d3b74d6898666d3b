"""The bootstrap without drawing is the one with drawing, exact, bounded and free of chance."""

from __future__ import annotations

import math
import time
import tracemalloc
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from keeprate.analysis.statistics import (
    BootstrapEstimate,
    bootstrap_mean,
    paired_bootstrap,
    wilson_interval,
)

RANDOM = np.random.default_rng(5)
SKEWED = RANDOM.lognormal(-2, 1.5, size=300)

values = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=2, max_size=60)
outcomes = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80)


def ends(estimate: BootstrapEstimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def wide(estimate: BootstrapEstimate) -> float:
    return estimate.high - estimate.low


@pytest.mark.parametrize(
    "sample",
    [SKEWED, SKEWED[:20], RANDOM.random(200) < 0.05, RANDOM.normal(size=50) - 3],
    ids=["skewed", "few", "rare", "negative"],
)
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_it_is_the_bca_interval_of_very_many_resamples(
    sample: NDArray[np.float64], level: float
) -> None:
    drawn = stats.bootstrap(
        (sample.astype(float),),
        np.mean,
        n_resamples=50_000,
        batch=2_000,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = bootstrap_mean(sample, level)
    assert found.value == pytest.approx(sample.mean())
    assert ends(found) == pytest.approx((drawn.low, drawn.high), abs=0.025 * wide(found))


def test_approval_of_a_prime_minister() -> None:
    """Agresti 2002, Categorical Data Analysis, section 10.1: -0.04, from -0.06 to -0.02."""
    first = np.repeat([1, 1, 0, 0], [794, 150, 86, 570])
    second = np.repeat([1, 0, 1, 0], [794, 150, 86, 570])
    found = paired_bootstrap(second, first, limit=1)
    assert found.value == pytest.approx(-0.04)
    half = 1.96 * math.sqrt(236 - 64**2 / 1600) / 1600
    assert ends(found) == pytest.approx((-0.04 - half, -0.04 + half), abs=2e-4)


def test_one_of_two_by_hand() -> None:
    """Means 0, 1/2 and 1 have chances 1/4, 1/2, 1/4; nothing is skewed, so 95 % reach the ends."""
    found = bootstrap_mean([0.0, 1.0])
    assert (found.value, *ends(found)) == pytest.approx((0.5, 0.0, 1.0), abs=0.01)


@pytest.mark.parametrize("right", [0, 1, 25, 48, 50])
def test_the_mean_of_outcomes_has_wilson_s_interval(right: int) -> None:
    outcomes = np.arange(50) < right
    found = bootstrap_mean(outcomes, bounds=(0, 1))
    assert found.value == right / 50
    assert ends(found) == pytest.approx(wilson_interval(right, 50))
    wider = bootstrap_mean(2 * outcomes - 3.0, bounds=(-3, -1))
    assert ends(wider) == pytest.approx([2 * end - 3 for end in ends(found)])


def test_values_between_the_bounds_count_as_more_images() -> None:
    """The mean of ten outcomes of each image is known as well as ten times as many images are."""
    shares = RANDOM.random((400, 10)) < 0.9
    found = bootstrap_mean(shares.mean(axis=1), bounds=(0, 1))
    expected = wilson_interval(int(shares.sum()), 4000)
    assert ends(found) == pytest.approx(expected, abs=0.15 * (expected[1] - expected[0]))


@given(values)
def test_turned_round_values_turn_the_interval_round(sample: list[float]) -> None:
    found, turned = bootstrap_mean(sample), bootstrap_mean([-each for each in sample])
    tolerance = 1e-3 * wide(found) + 1e-9
    assert (-turned.high, -turned.low) == pytest.approx(ends(found), abs=tolerance)


@given(values, st.randoms())
def test_the_order_of_the_images_does_not_matter(sample: list[float], random: Random) -> None:
    mixed = sample.copy()
    random.shuffle(mixed)
    found, again = bootstrap_mean(sample), bootstrap_mean(mixed)
    assert ends(again) == pytest.approx(ends(found), abs=1e-3 * wide(found) + 1e-9)


@given(values, st.floats(0.01, 100), st.floats(-100, 100))
def test_the_unit_does_not_matter(sample: list[float], scale: float, shift: float) -> None:
    found = bootstrap_mean(sample)
    other = bootstrap_mean([scale * each + shift for each in sample])
    expected = [scale * each + shift for each in ends(found)]
    tolerance = 1e-3 * scale * wide(found) + 1e-6
    assert ends(other) == pytest.approx(expected, abs=tolerance)


@given(outcomes)
def test_swapping_the_runs_turns_the_difference_round(pairs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*pairs, strict=True)
    found, turned = paired_bootstrap(a, b, limit=1), paired_bootstrap(b, a, limit=1)
    assert (-turned.value, -turned.high, -turned.low) == pytest.approx(
        (found.value, *ends(found)), abs=1e-3
    )
    assert -1 <= found.low <= found.value <= found.high <= 1


@given(outcomes)
def test_the_difference_is_that_of_the_means(pairs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*pairs, strict=True)
    assert paired_bootstrap(a, b).value == pytest.approx(np.mean(a) - np.mean(b))


def test_a_higher_level_is_wider() -> None:
    found = [wide(bootstrap_mean(SKEWED, level)) for level in (0.5, 0.9, 0.95, 0.99)]
    assert found == sorted(found)
    assert found[0] < 0.4 * found[3]


def test_equal_values_are_certain_only_where_nothing_bounds_them() -> None:
    found = bootstrap_mean([0.1] * 7)
    assert found.low == found.value == found.high == pytest.approx(0.1)
    perfect = bootstrap_mean([1.0] * 100, bounds=(0, 1))
    assert perfect.low < 0.97
    assert perfect.high == 1.0
    same = paired_bootstrap([True] * 100, [True] * 100, limit=1)
    assert same.low < 0 < same.high


def test_fifty_thousand_images_take_a_moment_and_little_memory() -> None:
    sample = RANDOM.lognormal(-2, 1.5, size=50_000)
    tracemalloc.start()
    try:
        began = time.process_time()
        found = bootstrap_mean(sample)
        seconds = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seconds < 1
    assert peak < 40e6
    half = 1.96 * sample.std() / math.sqrt(50_000)
    expected = (sample.mean() - half, sample.mean() + half)
    assert ends(found) == pytest.approx(expected, abs=0.1 * half)
    assert found == bootstrap_mean(sample)


@pytest.mark.parametrize("sample", [[], [[1.0, 2.0]], 3.0])
def test_what_is_not_one_value_per_image_is_refused(sample: object) -> None:
    with pytest.raises(ValueError, match=r"one value per image is needed, not an array of shape"):
        bootstrap_mean(sample)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_values_that_are_not_finite_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^values must be finite$"):
        bootstrap_mean([1.0, wrong])


def test_values_that_are_not_paired_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^values of shapes \(2,\) and \(3,\) are not paired$"):
        paired_bootstrap([1, 0], [1, 0, 1])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_levels_that_are_no_share_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        bootstrap_mean([1.0, 2.0], level)
