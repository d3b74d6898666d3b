"""An interval for a median, whatever its values are distributed like."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, takewhile
from math import comb


def median_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Return two of the values that hold the median at `level`, None of too few values for it.

    They are the k-th smallest and the k-th largest, with the largest k for which fewer than k of
    N fair coins show heads with a probability of at most (1 - level) / 2. At 95 % that takes six
    values. Source: the interval of the sign test, as in Conover 1999, "Practical Nonparametric
    Statistics", section 3.2.
    """
    ordered, coins = sorted(values), len(values)
    ways = accumulate(comb(coins, heads) for heads in range(coins - 1))  # of fewer than 1, 2, ...
    most = (1 - level) / 2
    k = len(list(takewhile(lambda count: count / 2**coins <= most, ways)))
    return (ordered[k - 1], ordered[-k]) if k else None
