"""Intervals and tests on outcomes per image; all functions take plain sequences."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    z = _quantile(level)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # at the ends the formula gives exactly 0 or 1, which rounding would miss
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return low, high


def paired_difference(a: Outcomes, b: Outcomes, level: float = 0.95) -> tuple[float, float, float]:
    """Return how much more often `a` is right than `b` on the same images, with the interval.

    The result is (difference, low, high): the plain difference of the two shares, from -1 to 1,
    and the adjusted Wald interval, which adds one half to each cell of the table of pairs. Raises
    ValueError for sequences of different length. Source: Agresti and Min 2005, "Simple improved
    confidence intervals for comparing matched proportions", Statistics in Medicine 24.
    """
    only_a, only_b, n = _discordant(a, b)
    difference = (only_a - only_b) / n if n else 0.0
    adjusted_n = n + 2
    centre = (only_a - only_b) / adjusted_n
    variance = (only_a + only_b + 1) / adjusted_n - centre * centre
    half = _quantile(level) * math.sqrt(variance / adjusted_n)
    return difference, max(-1.0, centre - half), min(1.0, centre + half)


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
