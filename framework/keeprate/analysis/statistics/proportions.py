"""Intervals and tests on outcomes per image; all functions take plain sequences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

Outcomes = Sequence[bool] | NDArray[np.bool_]
"""Whether the prediction was right, for each image."""


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval (low, high) of a proportion, without continuity correction.

    Nothing is known without trials: n = 0 gives (0, 1). Raises ValueError unless
    0 <= successes <= n. Source: Wilson 1927, "Probable inference, the law of succession, and
    statistical inference", JASA 22.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    if n == 0:
        return 0.0, 1.0
    return wilson_of_share(successes / n, n, level)


def wilson_of_share(share: float, n: float, level: float) -> tuple[float, float]:
    """Return Wilson's interval of a `share` that is as exact as that of `n` independent trials."""
    z = _quantile(level)
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(max(0.0, share * (1 - share)) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # at the ends the formula gives exactly 0 or 1, which rounding would miss
    low = 0.0 if share == 0 else (centre - half) / scale
    high = 1.0 if share == 1 else (centre + half) / scale
    return low, high


def paired_difference(a: Outcomes, b: Outcomes, level: float = 0.95) -> tuple[float, float, float]:
    """Return how much more often `a` is right than `b` on the same images, with Tango's interval.

    The result is (difference, low, high). The interval holds the differences that the score test
    does not reject; it keeps what it promises where few pairs disagree, or all in one direction.
    Raises ValueError for sequences of different length. Source: Tango 1998,
    "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17.
    """
    only_a, only_b, n = _discordant(a, b)
    if not n:
        return 0.0, -1.0, 1.0
    found, z = (only_a - only_b) / n, _quantile(level)

    def is_in(true: float) -> bool:
        return abs(only_a - only_b - n * true) <= z * _score_error(only_a, only_b, n, true)

    return found, _last_inside(is_in, found, -1.0), _last_inside(is_in, found, 1.0)


def _score_error(only_a: int, only_b: int, n: int, true: float) -> float:
    """Return the standard error of the number of pairs, if the `true` difference is known."""
    linear = (2 * n - only_a + only_b) * true - only_a - only_b
    constant = -only_b * true * (1 - true)
    # the likeliest chance that only b is right
    chance = (math.sqrt(max(0.0, linear * linear - 8 * n * constant)) - linear) / (4 * n)
    return math.sqrt(max(0.0, n * (2 * chance + true * (1 - true))))


def _last_inside(is_in: Callable[[float], bool], inside: float, end: float) -> float:
    """Return the number nearest to `end` that is in an interval, which holds `inside`."""
    for _ in range(60):  # a float64 has 53 bits: more halvings change nothing
        middle = (inside + end) / 2
        inside, end = (middle, end) if is_in(middle) else (inside, middle)
    return inside


def mcnemar_exact(a: Outcomes, b: Outcomes) -> float:
    """Return the two-sided p-value of "`a` and `b` are right equally often" on the same images.

    If that is true, a pair where just one is right favours `a` as likely as `b`: a binomial test
    with probability one half. Without such pairs p is 1. Raises ValueError for sequences of
    different length. Source: McNemar 1947, Psychometrika 12, with the exact null distribution.
    """
    only_a, only_b, _ = _discordant(a, b)
    if only_a == only_b:  # so also where there are no such pairs at all
        return 1.0
    tail = float(bdtr(float(min(only_a, only_b)), only_a + only_b, 0.5))
    return min(1.0, 2 * tail)


def _discordant(a: Outcomes, b: Outcomes) -> tuple[int, int, int]:
    """Count the pairs where only `a` is right, those where only `b` is right, and all pairs."""
    first, second = np.asarray(a, dtype=bool), np.asarray(b, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"outcomes of shapes {first.shape} and {second.shape} are not paired")
    return int(np.sum(first & ~second)), int(np.sum(second & ~first)), len(first)


def _quantile(level: float) -> float:
    """Return how many standard deviations to either side hold `level` of a normal distribution."""
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    return float(ndtri((1 + level) / 2))
