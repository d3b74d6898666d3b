"""Several seeds are combined by the analysis of variance, and tested by what respects them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from keeprate.analysis.statistics import (
    Difference,
    bootstrap_mean,
    difference,
    mcnemar_exact,
    mean_over_seeds,
    paired_difference,
)

RANDOM = np.random.default_rng(6)


def table(seeds: int, images: int, random: np.random.Generator = RANDOM) -> NDArray[np.float64]:
    ease, luck = random.random(images), random.normal(scale=0.1, size=(seeds, 1))
    return (random.random((seeds, images)) < ease + luck).astype(float)


tables = st.builds(
    lambda seeds, images, seed: table(seeds, images, np.random.default_rng(seed)),
    st.integers(1, 4),
    st.integers(2, 40),
    st.integers(0, 10**6),
)


def everything(found: Difference) -> tuple[float, ...]:
    return found.value, found.low, found.high, found.p_value


def test_two_seeds_of_four_images_by_hand() -> None:
    """Seeds 3/4 and 1/4, images 1, 1/2, 1/2, 0.

    Between images 1/8 / 4 = 1/32; between seeds 1/8 / 2 = 1/16; by chance 1/16 / 3 = 1/48 of it.
    """
    variance = 1 / 32 + 1 / 16 - 1 / 48
    freedom = variance**2 / ((1 / 32) ** 2 / 3 + (1 / 16) ** 2)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(variance)
    found = mean_over_seeds([[1, 1, 1, 0], [1, 0, 0, 0]], bounds=None)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))


def test_the_variance_is_that_of_a_written_out_analysis_of_variance() -> None:
    values = table(5, 60)
    seeds, images, mean = 5, 60, values.mean()
    of_seeds, of_images = values.mean(axis=1), values.mean(axis=0)
    squares = sum(
        (values[s, i] - of_seeds[s] - of_images[i] + mean) ** 2
        for s in range(seeds)
        for i in range(images)
    )
    ms_images = seeds * sum((each - mean) ** 2 for each in of_images) / images
    ms_seeds = images * sum((each - mean) ** 2 for each in of_seeds) / (seeds - 1)
    ms_both = squares / (seeds - 1) / (images - 1)
    total = (ms_images + max(0.0, ms_seeds - ms_both)) / (seeds * images)
    spread = (ms_images**2 / (images - 1) + ms_seeds**2 / (seeds - 1)) / (seeds * images) ** 2
    half = stats.t.ppf(0.95, total**2 / spread) * math.sqrt(total)
    found = mean_over_seeds(values, 0.9, bounds=None)
    assert found.high - found.low == pytest.approx(2 * half)
    p_value = 2 * stats.t.sf(abs(mean - 0.4) / math.sqrt(total), total**2 / spread)
    against = difference(values - 0.4, np.zeros(60), limit=None)
    assert against.p_value == pytest.approx(p_value)


def test_seeds_that_differ_widen_the_interval_and_seeds_that_agree_do_not() -> None:
    same = np.tile(table(1, 200), (4, 1))
    apart = np.repeat([[0.7], [0.75], [0.85], [0.9]], 200, axis=1) > (np.arange(200) + 0.5) / 200
    alone, agreed, differed = (mean_over_seeds(each) for each in (same[0], same, apart))
    assert agreed.high - agreed.low == pytest.approx(alone.high - alone.low, rel=0.03)
    assert differed.high - differed.low > 1.5 * (alone.high - alone.low)


def test_one_seed_is_the_bootstrap_over_images() -> None:
    one = table(1, 80)
    assert mean_over_seeds(one) == mean_over_seeds(one[0]) == bootstrap_mean(one[0], 0.95, (0, 1))


def test_one_run_against_one_is_tango_and_mcnemar() -> None:
    a, b = table(2, 120)
    found = difference(a, b)
    assert (found.value, found.low, found.high) == paired_difference(a == 1, b == 1)
    assert found.p_value == mcnemar_exact(a == 1, b == 1)
    assert difference(a == 1, b == 1) == found


def test_other_quantities_are_tested_by_students_paired_test() -> None:
    a, b = RANDOM.lognormal(-2, 1, size=(2, 4000))
    expected = stats.ttest_rel(a, b)
    found = difference(a, b, limit=None)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-3)
    interval = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-3)


@given(tables, st.integers(1, 3), st.integers(0, 10**6))
def test_swapping_the_runs_turns_the_difference_round(
    a: NDArray[np.float64], seeds: int, seed: int
) -> None:
    b = table(seeds, a.shape[1], np.random.default_rng(seed))
    found, turned = difference(a, b), difference(b, a)
    expected = (-turned.value, -turned.high, -turned.low, turned.p_value)
    assert everything(found) == pytest.approx(expected, abs=1e-3)
    assert found.value == pytest.approx(a.mean() - b.mean())
    assert found.low <= found.value <= found.high
    assert 0 <= found.p_value <= 1 + 1e-12


@given(tables, st.integers(0, 10**6))
def test_the_order_of_images_and_of_seeds_does_not_matter(
    a: NDArray[np.float64], seed: int
) -> None:
    random = np.random.default_rng(seed)
    b = table(2, a.shape[1], random)
    images, seeds = random.permutation(a.shape[1]), random.permutation(len(a))
    again = difference(a[seeds][:, images], b[::-1, images])
    assert everything(again) == pytest.approx(everything(difference(a, b)), abs=1e-3)


def test_the_same_seeds_twice_are_no_difference_but_not_certain() -> None:
    a = table(3, 50)
    found = difference(a, a)
    assert (found.value, found.p_value) == (0.0, 1.0)
    assert found.low < 0 < found.high


def test_without_variance_a_difference_is_there_or_not() -> None:
    nothing = np.zeros((2, 3))
    assert everything(difference(nothing, nothing, limit=None)) == (0, 0, 0, 1)
    assert everything(difference(nothing + 2, nothing, limit=None)) == (2, 2, 2, 0)
    assert difference([2.0, 2.0], [0.0, 0.0], limit=None).p_value == 0


def test_one_image_says_little() -> None:
    found = mean_over_seeds([[1.0], [0.0]])
    assert found.value == 0.5
    assert found.high - found.low > 0.8


@pytest.mark.parametrize("wrong", [[], np.zeros((1, 2, 3)), np.zeros((2, 0))])
def test_other_shapes_are_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"values per image, or per seed and image, not of shape"):
        mean_over_seeds(wrong)  # type: ignore[arg-type]


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^values of shapes \(3,\) and \(2,\) are not paired$"):
        difference(np.zeros((2, 3)), np.zeros(2))


@pytest.mark.parametrize("values", [[1.0, 0.0], [[1.0, 0.0], [0.0, 0.0]]])
def test_levels_that_are_no_share_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"^level must lie between 0 and 1, not 95$"):
        mean_over_seeds(values, 95)
