"""Intervals and tests agree with scipy, with hand-worked cases, and cover what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import xlogy
from scipy.stats import binomtest

from keeprate.analysis.statistics import (
    mcnemar_exact,
    paired_difference,
    wilson_interval,
)


def pairs(both: int, only_a: int, only_b: int, neither: int) -> tuple[list[bool], list[bool]]:
    a = [True] * both + [True] * only_a + [False] * only_b + [False] * neither
    b = [True] * both + [False] * only_a + [True] * only_b + [False] * neither
    return a, b


@given(st.integers(1, 60_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(case: tuple[int, int]) -> None:
    successes, n = case
    for level in (0.9, 0.95, 0.99):
        expected = binomtest(successes, n).proportion_ci(level, method="wilson")
        found = wilson_interval(successes, n, level)
        assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand() -> None:
    low, high = wilson_interval(8, 10)
    assert low == pytest.approx(0.4901625)
    assert high == pytest.approx(0.9433178)


def test_wilson_at_the_ends_and_without_trials() -> None:
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0
    assert wilson_interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, -1)])
def test_wilson_refuses_what_cannot_be_counted(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes in"):
        wilson_interval(successes, n)


def test_paired_difference_turns_with_its_arguments() -> None:
    a, b = pairs(60, 5, 15, 20)
    difference, low, high = paired_difference(a, b)
    assert paired_difference(b, a) == pytest.approx((-difference, -high, -low))


def test_paired_difference_of_equal_outcomes_is_zero_but_not_certain() -> None:
    difference, low, high = paired_difference([True] * 50, [True] * 50)
    assert difference == 0.0
    assert low < 0.0 < high


def test_paired_difference_stays_between_minus_one_and_one() -> None:
    assert paired_difference([True], [False])[2] <= 1.0
    assert paired_difference([False], [True])[1] >= -1.0
    assert paired_difference([], [])[0] == 0.0


@pytest.mark.sample(2)
@pytest.mark.parametrize("n", [50, 500])
@pytest.mark.parametrize(("only_a", "only_b"), [(0.05, 0.05), (0.02, 0.08), (0.10, 0.30)])
def test_the_paired_interval_covers_the_true_difference(
    n: int, only_a: float, only_b: float
) -> None:
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(1000):
        kind = random.choice(3, size=n, p=[only_a, only_b, 1 - only_a - only_b])
        _, low, high = paired_difference(kind == 0, kind == 1)
        covered += low <= only_a - only_b <= high
    assert 0.93 <= covered / 1000 <= 0.985


def test_wilson_covers_the_true_share() -> None:
    random = np.random.default_rng(12)
    hits = random.binomial(200, 0.8, size=1000)
    intervals = [wilson_interval(int(each), 200) for each in hits]
    covered = sum(low <= 0.8 <= high for low, high in intervals) / 1000
    assert 0.93 <= covered <= 0.97


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_agrees_with_scipy(only_a: int, only_b: int) -> None:
    found = mcnemar_exact(*pairs(3, only_a, only_b, 2))
    total = only_a + only_b
    expected = binomtest(only_a, total, 0.5).pvalue if total else 1.0
    assert found == pytest.approx(expected, rel=1e-9)


def test_mcnemar_by_hand() -> None:
    """1 against 7: twice (1 + 8) / 2**8."""
    assert mcnemar_exact(*pairs(10, 1, 7, 4)) == pytest.approx(18 / 256)


def test_mcnemar_without_disagreement_says_nothing() -> None:
    assert mcnemar_exact(*pairs(10, 0, 0, 4)) == 1.0
    assert mcnemar_exact([], []) == 1.0


@pytest.mark.parametrize("function", [paired_difference, mcnemar_exact])
def test_outcomes_that_are_not_paired_are_refused(function: object) -> None:
    assert callable(function)
    with pytest.raises(ValueError, match="not paired"):
        function([True, False], [True])


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_levels_that_are_no_share_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        wilson_interval(1, 2, level)


def score(only_a: int, only_b: int, n: int, true: float) -> float:
    """The score statistic of a true difference; the likeliest chances are searched for."""

    def unlikely(chance: float) -> float:
        both = 1 - 2 * chance - true
        return -float(
            xlogy(only_a, chance + true) + xlogy(only_b, chance) + xlogy(n - only_a - only_b, both)
        )

    least, most = max(0.0, -true), (1 - true) / 2
    chance = float(minimize_scalar(unlikely, bounds=(least, most), options={"xatol": 1e-10}).x)
    return (only_a - only_b - n * true) / math.sqrt(n * (2 * chance + true - true**2))


@pytest.mark.parametrize(("only_a", "only_b", "n"), [(12, 2, 44), (3, 1, 600), (150, 86, 1600)])
def test_tango_s_interval_ends_where_the_score_test_rejects(
    only_a: int, only_b: int, n: int
) -> None:
    a, b = np.zeros((2, n), dtype=bool)
    a[:only_a] = b[only_a : only_a + only_b] = True
    found, low, high = paired_difference(a, b)
    assert found == pytest.approx((only_a - only_b) / n)
    assert score(only_a, only_b, n, low) == pytest.approx(1.959964, abs=1e-3)
    assert score(only_a, only_b, n, high) == pytest.approx(-1.959964, abs=1e-3)
    turned = [-end for end in reversed(paired_difference(b, a)[1:])]
    assert turned == pytest.approx([low, high])


@pytest.mark.parametrize("n", [1, 50, 1000])
def test_without_discordant_pairs_the_difference_is_not_certain(n: int) -> None:
    """The ends are where the score test rejects: n = z^2 (1 - d) / d, for d to either side."""
    z = 1.959964
    end = z * z / (n + z * z)
    same = np.ones(n, dtype=bool)
    assert paired_difference(same, same) == pytest.approx((0.0, -end, end))
