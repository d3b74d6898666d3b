"""Means and differences over images and, where a run was repeated, over seeds as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from .bootstrap import BootstrapEstimate, bca
from .proportions import mcnemar_exact
from .sample import WeightedSample, sample_of_differences, sample_of_values

_Values = NDArray[np.float64]  # (S, N): seeds, images


@dataclass(frozen=True)
class Difference(BootstrapEstimate):
    """A difference of means, its interval, and the p-value of "there is none", two-sided."""

    p_value: float


@dataclass(frozen=True)
class _Normal:
    """The centre of a sample, its variance, and the degrees of freedom of that variance."""

    centre: float
    variance: float
    freedom: float

    def interval(self, level: float) -> tuple[float, float]:
        """Student's interval (low, high)."""
        if not 0 < level < 1:
            raise ValueError(f"level must lie between 0 and 1, not {level}")
        half = float(stdtrit(self.freedom, (1 + level) / 2)) * math.sqrt(self.variance)
        return self.centre - half, self.centre + half

    def p_value(self) -> float:
        """Of "the mean is zero", two-sided; without any variance it is zero or it is not."""
        if self.variance == 0:
            return float(self.centre == 0)
        return 2 * float(stdtr(self.freedom, -abs(self.centre) / math.sqrt(self.variance)))


def mean_over_seeds(
    values: ArrayLike, level: float = 0.95, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> BootstrapEstimate:
    """Mean of a quantity per image, with an interval for other images and other seeds.

    `values` are (N,) of one run or (S, N) of S seeds on the same images. `bounds` hold what an
    image can give, (0, 1) for outcomes, None for anything else (see `bootstrap_mean`).

    One run gets the bootstrap over images: its interval says nothing about other seeds. Of several
    the variance is that between images (of their means over seeds) plus what the seeds' means
    differ by beyond what images that come out otherwise by chance explain, never less than none:
    the analysis of variance of two crossed random factors, with Satterthwaite's degrees of
    freedom. Resampling both images and seeds would count chance three times and, of a few seeds,
    cannot know how far seeds differ; docs/statistics.md has the coverage of both.

    Raises ValueError for no values, for others than finite ones, for other shapes, and for a level
    outside 0 to 1. Sources: Satterthwaite 1946, Biometrics Bulletin 2; Hillis 2007, Statistics in
    Medicine 26 (readers and cases as seeds and images are here); Owen 2007, "The pigeonhole
    bootstrap", Annals of Applied Statistics 1.
    """
    seeded = _seeded(values)
    sample = sample_of_values(seeded.mean(axis=0), bounds)
    if len(seeded) == 1:
        return bca(sample, level)
    normal = _normal(sample, [seeded])
    return BootstrapEstimate(sample.mean, *sample.around(*normal.interval(level)))


def difference(
    a: ArrayLike, b: ArrayLike, level: float = 0.95, limit: float | None = 1.0
) -> Difference:
    """How much larger `a` is than `b` in the mean on the same images: interval and test.

    Each is (N,) of one run or (S, N) of several seeds, which need not be as many for both.
    `limit` is the largest difference an image can give, 1 for outcomes, None for anything else.

    One run against one: the paired bootstrap's interval, with McNemar's exact test for outcomes
    and the paired t-test for other quantities. As soon as one has several seeds McNemar's test
    does not apply, as it takes every pair for an independent one: interval and t-test then both
    come from the variance over images and seeds as in `mean_over_seeds`, the seeds of `a` and of
    `b` taken as independent.

    Raises ValueError unless the images are as many, and as `mean_over_seeds` does. Sources: those
    of `paired_bootstrap`, `mcnemar_exact` and `mean_over_seeds`.
    """
    first, second = _seeded(a), _seeded(b)
    sample = sample_of_differences(first.mean(axis=0), second.mean(axis=0), limit)
    normal = _normal(sample, [each for each in (first, second) if len(each) > 1])
    if len(first) > 1 or len(second) > 1:
        interval = sample.around(*normal.interval(level))
        return Difference(sample.mean, *interval, normal.p_value())
    found = bca(sample, level)
    binary = all(np.isin(each, (0, 1)).all() for each in (first, second))
    p_value = mcnemar_exact(first[0] == 1, second[0] == 1) if binary else normal.p_value()
    return Difference(found.value, found.low, found.high, p_value)


def _seeded(values: ArrayLike) -> _Values:
    """The values as (S, N)."""
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if array.ndim != 2 or not array.size:
        raise ValueError(f"values per image, or per seed and image, not of shape {array.shape}")
    return array


def _normal(sample: WeightedSample, seeded: Sequence[_Values]) -> _Normal:
    """The centre of `sample`, whose values are means over the seeds of each of `seeded`."""
    images = sample.variance / sample.total
    variance, spread = images, images**2 / max(1, sample.total - 1)
    for values in seeded:
        between, chance = _variances_of_mean(values)
        variance += max(0.0, between - chance)
        spread += between**2 / (len(values) - 1)
    freedom = variance**2 / spread if spread else math.inf
    return _Normal(sample.centre, variance, freedom)


def _variances_of_mean(values: _Values) -> tuple[float, float]:
    """What the mean of (S, N) values varies by as its seeds do, and by chance alone."""
    seeds, images = values.shape
    of_seeds, of_images = values.mean(axis=1), values.mean(axis=0)
    between = float(of_seeds.var(ddof=1)) / seeds
    left = float(values.var() - of_seeds.var() - of_images.var())
    return between, max(0.0, left) / ((seeds - 1) * max(1, images - 1))
