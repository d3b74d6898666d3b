"""An interval for a median, whatever its values are distributed like."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.stats import binom


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return two of the values that hold the median at `level`, None of too few values for it.

    They are the k-th smallest and the k-th largest, with the largest k for which fewer than k of
    N fair coins show heads with a probability of at most (1 - level) / 2. At 95 % that takes six
    values. Source: the interval of the sign test, as in Conover 1999, "Practical Nonparametric
    Statistics", section 3.2.
    """
    ordered = sorted(values)
    beyond = [k for k in range(1, len(ordered)) if _below(k, len(ordered)) <= (1 - level) / 2]
    return (ordered[beyond[-1] - 1], ordered[-beyond[-1]]) if beyond else None


def _below(k: int, coins: int) -> float:
    return float(binom.cdf(k - 1, coins, 0.5))
