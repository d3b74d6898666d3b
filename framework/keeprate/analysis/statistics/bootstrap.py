"""Bootstrap a mean over images; the distribution is computed, and no samples are drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import irfft, rfft
from scipy.special import ndtr, ndtri

from .proportions import wilson_of_share
from .sample import WeightedSample, sample_of_differences, sample_of_values

_REACH = 10.0
"""Standard errors to either side that the computed distribution covers."""

_STEP = 0.02
"""Widest step of the grid that values are put on, in standard deviations of the values."""

_NEGLIGIBLE = 1e-18
"""The part of a characteristic function that may be dropped; its value at zero is 1."""


@dataclass(frozen=True)
class BootstrapEstimate:
    """A figure and the ends of its interval, in the unit of the figure."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    values: ArrayLike, level: float = 0.95, bounds: tuple[float, float] | None = None
) -> BootstrapEstimate:
    """Return the mean of one value per image, with an interval: BCa's where nothing bounds it.

    `values` is (N,). Where values cannot leave `bounds`, (0, 1) for outcomes, the interval is that
    of `bounded_mean` instead: near an end no resample shows the rare images that were not drawn.
    Without `bounds`, equal values give an interval of no width, which claims nothing about others.

    The mean of N values drawn with replacement has a characteristic function that is the N-th
    power of one draw's, so two Fourier transforms give what infinitely many resamples would. The
    result is not random and takes 0.02 seconds and 15 MB for 50,000 images. Values are split
    between the two nearest points of a grid, which widens the interval by less than 0.01 %.

    Raises ValueError for no values, values that are not finite, and a level outside 0 to 1.
    Sources: Efron 1987, "Better bootstrap confidence intervals", JASA 82; Pagano and Tritchler
    1983, "On obtaining permutation distributions in polynomial time", JASA 78 (distributions of
    sums by Fourier transform).
    """
    sample = sample_of_values(values, bounds)
    return bca(sample, level) if bounds is None else bounded_mean(sample, level)


def bounded_mean(sample: WeightedSample, level: float) -> BootstrapEstimate:
    """Return the mean of values within bounds, with Wilson's interval; for outcomes it is his own.

    Other values vary less than outcomes of the same mean, and count as so many more images. Their
    variance is that with two added images at either end, since few images away from an end say
    little about it. Raises ValueError for a level outside 0 to 1. Sources: Wilson 1927, JASA 22;
    Kish 1965, "Survey Sampling" (the effective number of images).
    """
    least, greatest = sample.bounds
    width = greatest - least
    share = (sample.mean - least) / width
    largest_variance = (sample.centre - least) * (greatest - sample.centre)
    effective = sample.images * largest_variance / sample.variance
    low, high = wilson_of_share(share, effective, level)
    return BootstrapEstimate(sample.mean, *sample.around(least + width * low, least + width * high))


def paired_bootstrap(
    a: ArrayLike, b: ArrayLike, level: float = 0.95, limit: float | None = None
) -> BootstrapEstimate:
    """Return how much larger the mean of `a` is than that of `b`, with its BCa interval.

    `a` and `b` are (N,), a quantity on the same images. Where no difference exceeds `limit`, 1 for
    outcomes, two images are added before resampling: half an image at either limit and one image
    without a difference, which is one half in each cell of the table of pairs. All else is as in
    `bootstrap_mean`. Raises ValueError also for arrays of different shapes. Sources: those of
    `bootstrap_mean`; Agresti and Min 2005, Statistics in Medicine 24 (the added images).
    """
    return bca(sample_of_differences(a, b, limit), level)


def bca(sample: WeightedSample, level: float) -> BootstrapEstimate:
    """Return the mean of `sample` with its bias-corrected and accelerated bootstrap interval.

    Raises ValueError for a level outside 0 to 1. Source: Efron 1987, JASA 82, section 3; the
    acceleration of a mean is a sixth of its skewness.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")
    if sample.variance == 0:  # equal values have no skewness, and no distribution to compute
        return BootstrapEstimate(sample.mean, sample.mean, sample.mean)
    means, cumulative = _distribution_of_mean(sample)
    bias = ndtri(np.interp(sample.centre, means, cumulative))
    acceleration = sample.skewness / (6 * math.sqrt(sample.total))
    shifted = bias + ndtri(np.array([1 - level, 1 + level]) / 2)
    quantiles = ndtr(bias + shifted / (1 - acceleration * shifted))
    low, high = np.interp(quantiles, cumulative, means)
    return BootstrapEstimate(sample.mean, *sample.around(float(low), float(high)))


def _distribution_of_mean(
    sample: WeightedSample,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the means of all resamples of the sample's size, and their cumulative chances.

    A mean's own chance counts half, so that values with reversed signs give a reversed result.
    """
    draws = sample.total
    # a power of two, for the Fourier transform, with steps of at most _STEP
    size = 1 << math.ceil(math.log2(2 * _REACH * math.sqrt(draws) / _STEP))
    step = 2 * _REACH * math.sqrt(sample.variance * draws) / size
    positions = (sample.values - sample.centre) / step
    below = np.floor(positions)
    share = positions - below
    index = below.astype(np.int64)
    # positions wrap round, as the transform is periodic: the mean is at 0, and fftshift moves it
    # to the middle
    masses = np.bincount(index % size, sample.weights * (1 - share), size)
    masses += np.bincount((index + 1) % size, sample.weights * share, size)
    # rounding leaves chances a little below zero, which would make the sums go down
    chances = np.fft.fftshift(irfft(_power(rfft(masses / draws), draws), size)).clip(min=0)
    means = sample.centre + step * (np.arange(size) - size // 2) / draws
    return means, np.cumsum(chances) - chances / 2


def _power(spectrum: NDArray[np.complex128], power: int) -> NDArray[np.complex128]:
    """Raise `spectrum` to `power`; negligible parts, which are most of it, become 0."""
    # a power of a complex number is slow, so it is computed only where it can be seen
    not_negligible = np.abs(spectrum) > _NEGLIGIBLE ** (1 / power)
    powers = np.zeros_like(spectrum)
    powers[not_negligible] = spectrum[not_negligible] ** power
    return powers
