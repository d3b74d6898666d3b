"""Means and differences over images and, where a run was repeated, over its seeds as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtr, stdtrit

from .bootstrap import BootstrapEstimate, bca, bootstrap_mean
from .proportions import mcnemar_exact, paired_difference
from .sample import WeightedSample, sample_of_differences, sample_of_values

_Values = NDArray[np.float64]  # (S, N): seeds, images


@dataclass(frozen=True)
class Difference(BootstrapEstimate):
    """A difference of means, its interval, and the two-sided p-value of "there is none"."""

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
        """Return the two-sided p-value of "the mean is zero"."""
        # without any variance the mean is known for certain: it is zero or it is not
        if self.variance == 0:
            return float(self.centre == 0)
        return 2 * float(stdtr(self.freedom, -abs(self.centre) / math.sqrt(self.variance)))


def mean_over_seeds(
    values: ArrayLike, level: float = 0.95, bounds: tuple[float, float] | None = (0.0, 1.0)
) -> BootstrapEstimate:
    """Return the mean of a quantity per image, with an interval for other images and other seeds.

    `values` are (N,) of one run or (S, N) of S seeds on the same images. `bounds` are the least and
    the greatest value of an image, (0, 1) for outcomes, None if unknown (see `bootstrap_mean`).

    One run gets the interval of `bootstrap_mean`, which says nothing about other seeds. The
    variance of several seeds has two parts: that between images (of their means over seeds), and
    that between the means of seeds as far as chance on single images does not explain it, at least
    0. This is the analysis of variance of two crossed random factors, with Satterthwaite's degrees
    of freedom. Resampling both images and seeds would count chance three times, and a few seeds do
    not show how far seeds differ; docs/statistics.md has the coverage of both.

    Raises ValueError for no values, values that are not finite, other shapes, and a level outside
    0 to 1. Sources: Satterthwaite 1946, Biometrics Bulletin 2; Hillis 2007, Statistics in
    Medicine 26 (readers and cases as seeds and images are here); Owen 2007, "The pigeonhole
    bootstrap", Annals of Applied Statistics 1.
    """
    seeded = _seeded(values)
    sample = sample_of_values(seeded.mean(axis=0), bounds)
    if len(seeded) == 1:
        return bootstrap_mean(seeded[0], level, bounds)
    normal = _normal(sample, [seeded])
    return BootstrapEstimate(sample.mean, *sample.around(*normal.interval(level)))


def difference(
    a: ArrayLike, b: ArrayLike, level: float = 0.95, limit: float | None = 1.0
) -> Difference:
    """Return how much larger the mean of `a` is than that of `b`, with an interval and a test.

    Each is (N,) of one run or (S, N) of several seeds on the same images; their numbers of seeds
    may differ. `limit` is the largest difference of an image, 1 for outcomes, None if unknown.

    One run against one gets Tango's interval and McNemar's exact test for outcomes, the paired
    bootstrap's interval and the paired t-test for other quantities. McNemar's test does not apply
    to several seeds, since it takes every pair for an independent one: interval and t-test then
    both come from the variance over images and seeds as in `mean_over_seeds`. The seeds of `a` and
    of `b` are taken as independent.

    Raises ValueError for different numbers of images, and as `mean_over_seeds` does. Sources: those
    of `paired_difference`, `mcnemar_exact`, `paired_bootstrap` and `mean_over_seeds`.
    """
    first, second = _seeded(a), _seeded(b)
    sample = sample_of_differences(first.mean(axis=0), second.mean(axis=0), limit)
    normal = _normal(sample, [values for values in (first, second) if len(values) > 1])
    if len(first) > 1 or len(second) > 1:
        interval = sample.around(*normal.interval(level))
        return Difference(sample.mean, *interval, normal.p_value())
    # without a limit zeros are divergences, not mistakes
    if limit == 1 and all(np.isin(values, (0, 1)).all() for values in (first, second)):
        right = first[0] == 1, second[0] == 1
        return Difference(*paired_difference(*right, level), mcnemar_exact(*right))
    estimate = bca(sample, level)
    return Difference(estimate.value, estimate.low, estimate.high, normal.p_value())


def _seeded(values: ArrayLike) -> _Values:
    """Return the values as (S, N); those of one run become (1, N)."""
    array = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if array.ndim != 2 or not array.size:
        raise ValueError(f"values per image, or per seed and image, not of shape {array.shape}")
    return array


def _normal(sample: WeightedSample, seeded: Sequence[_Values]) -> _Normal:
    """Return centre and variance of `sample`, whose values are means over the seeds in `seeded`."""
    images_part = sample.variance / sample.total
    variance, spread = images_part, images_part**2 / max(1, sample.total - 1)
    for values in seeded:
        between, chance = _variances_of_mean(values)
        # an estimate by subtraction can fall below zero, which a variance cannot
        variance += max(0.0, between - chance)
        spread += between**2 / (len(values) - 1)
    # Satterthwaite: each part enters with its square over its own degrees of freedom
    freedom = variance**2 / spread if spread else math.inf
    return _Normal(sample.centre, variance, freedom)


def _variances_of_mean(values: _Values) -> tuple[float, float]:
    """Return the variance of the mean of (S, N) values between seeds, and that by chance alone."""
    seeds, images = values.shape
    of_seeds, of_images = values.mean(axis=1), values.mean(axis=0)
    between = float(of_seeds.var(ddof=1)) / seeds
    # what neither the seed nor the image explains of a value
    residual = float(values.var() - of_seeds.var() - of_images.var())
    return between, max(0.0, residual) / ((seeds - 1) * max(1, images - 1))
