"""Samples with one value per image, and the images that are added where values have bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class WeightedSample:
    """Values, and how many images each one stands for; `mean` is that of the true images alone.

    `values` and `weights` are (N,); the weights sum to a whole number, `total`; `images` is the
    number of true images. `bounds` are the least and the greatest possible mean, infinite where
    they are unknown. `centre`, `variance` (in the unit squared, divided by the total) and
    `skewness` are those of all values, with the added ones.
    """

    values: NDArray[np.float64]
    weights: NDArray[np.float64]
    mean: float
    images: int
    bounds: tuple[float, float]

    @property
    def total(self) -> int:
        """The number of images, with the added ones."""
        return round(float(self.weights.sum()))

    @property
    def centre(self) -> float:
        """Mean of all values."""
        return float(self.values @ self.weights) / self.total

    @property
    def variance(self) -> float:
        """Mean squared distance from the centre; exactly 0 where all values are equal."""
        # rounding would leave a tiny variance of equal values
        if self.values.min() == self.values.max():
            return 0.0
        return float((self.values - self.centre) ** 2 @ self.weights) / self.total

    @property
    def skewness(self) -> float:
        """Third standardised moment, without a unit; undefined where the variance is 0."""
        standardised = (self.values - self.centre) / math.sqrt(self.variance)
        return float(standardised**3 @ self.weights) / self.total

    def around(self, low: float, high: float) -> tuple[float, float]:
        """Return the interval within the bounds, widened where it does not hold the mean."""
        # the interval is around the centre, from which added images can keep the mean away
        least, greatest = self.bounds
        return max(least, min(low, self.mean)), min(greatest, max(high, self.mean))


def sample_of_values(values: ArrayLike, bounds: tuple[float, float] | None) -> WeightedSample:
    """Make a sample of one value per image (N,); two images are added at either end of `bounds`.

    Raises ValueError unless there are values and all are finite.
    """
    added = [(end, 2.0) for end in bounds] if bounds else []
    return _sample(np.asarray(values, dtype=np.float64), added)


def sample_of_differences(a: ArrayLike, b: ArrayLike, limit: float | None) -> WeightedSample:
    """Make a sample of `a` less `b`, both (N,).

    Half an image is added at plus and minus `limit`, and one image without a difference. Raises
    ValueError for different shapes, and as `sample_of_values` does.
    """
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"values of shapes {first.shape} and {second.shape} are not paired")
    added = [(-limit, 0.5), (0.0, 1.0), (limit, 0.5)] if limit else []
    return _sample(first - second, added)


def _sample(values: NDArray[np.float64], added: Sequence[tuple[float, float]]) -> WeightedSample:
    if values.ndim != 1 or not values.size:
        raise ValueError(f"one value per image is needed, not an array of shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("values must be finite")
    extra = np.array(added, dtype=np.float64).reshape(-1, 2)
    weights = np.concatenate([np.ones(len(values)), extra[:, 1]])
    bounds = (added[0][0], added[-1][0]) if added else (-math.inf, math.inf)
    all_values = np.concatenate([values, extra[:, 0]])
    return WeightedSample(all_values, weights, float(values.mean()), len(values), bounds)
