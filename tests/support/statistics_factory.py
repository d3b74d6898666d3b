"""Simulated outcomes whose true accuracies are known exactly: a probit model of images and seeds.

An image is right where `strength` + its ease + the seed's luck + noise is above zero, all normal,
the noise with variance 1. Ease belongs to the image and luck to the seed, so both are shared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Outcomes = NDArray[np.float64]  # (S, N)
DATA_SETS = 1000


@dataclass(frozen=True)
class World:
    """How much images and seeds differ (standard deviations), and how many there are."""

    images: int = 400
    ease: float = 1.0
    seeds: int = 1
    luck: float = 0.0

    def truth(self, strength: float) -> float:
        """The accuracy over all images and seeds there could be."""
        return float(ndtr(strength / math.sqrt(1 + self.ease**2 + self.luck**2)))

    def strength(self, truth: float) -> float:
        """The strength that has the accuracy `truth`."""
        return float(ndtri(truth)) * math.sqrt(1 + self.ease**2 + self.luck**2)

    def eases(self, random: np.random.Generator) -> NDArray[np.float64]:
        return random.normal(scale=self.ease, size=self.images)

    def lucks(self, random: np.random.Generator) -> NDArray[np.float64]:
        return random.normal(scale=self.luck, size=(self.seeds, 1))

    def outcomes(
        self,
        random: np.random.Generator,
        strength: float,
        eases: NDArray[np.float64],
        lucks: NDArray[np.float64] | None = None,
    ) -> Outcomes:
        """Outcomes of every seed on images of these eases, with these lucks or new ones."""
        shift = self.lucks(random) if lucks is None else lucks
        noise = random.normal(size=(self.seeds, len(eases)))
        return (strength + eases + shift + noise > 0).astype(float)


def draws(seed: int, count: int = DATA_SETS) -> Iterator[np.random.Generator]:
    """A generator of random numbers for each simulated data set."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        yield random
