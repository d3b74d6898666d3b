"""How often 95 % intervals hold the truth where nearly every image is right: docs/statistics.md.

Prints one row of Markdown for each question and accuracy: the share of the intervals that hold the
truth, and the shares that lie below and above it. An image is right where a strength, its ease and
noise are together above zero; `ease` is how much images differ, so how far runs are correlated.

    python benchmarks/coverage.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from keeprate.analysis.statistics import (
    BootstrapEstimate,
    Curve,
    Missing,
    accuracy_at,
    area_difference,
    area_under_curve,
    difference,
    mean_over_seeds,
)

DATA_SETS, COSTS = 1000, (1.0, 2.0, 4.0)
SETTINGS = [(0.9, 500), (0.99, 200), (0.99, 600), (0.995, 500), (0.995, 200)]

Outcomes = NDArray[np.float64]
Found = BootstrapEstimate | Missing


def runs(shares: list[float], images: int, ease: float, seeds: int = 1) -> Iterator[Outcomes]:
    """Yield outcomes (runs, seeds, images) of runs that are right in these shares of all images."""
    random = np.random.default_rng(0)
    strengths = ndtri(np.array(shares))[:, None, None] * math.sqrt(1 + ease**2)
    for _ in range(DATA_SETS):
        eases = random.normal(scale=ease, size=images)
        noise = random.normal(size=(len(shares), seeds, images))
        yield (strengths + eases + noise > 0).astype(np.float64)


def curve(outcomes: Outcomes) -> Curve:
    """The runs as points of a curve."""
    return Curve.of(zip(COSTS, outcomes, strict=True))


def mean_height(shares: list[float]) -> float:
    """The mean height of straight lines through the points."""
    return (shares[0] + 3 * shares[1] + 2 * shares[2]) / 6


def around(share: float) -> list[float]:
    """Accuracies of three runs, the dearest best."""
    return [1 - factor * (1 - share) for factor in (1.4, 1.0, 0.8)]


def row(name: str, found: list[Found], truth: float) -> str:
    """Return the row of one question."""
    ends = np.array([(each.low, each.high) for each in found if not isinstance(each, Missing)])
    below, above = np.mean(ends[:, 1] < truth), np.mean(ends[:, 0] > truth)
    return f"| {name} | {100 * (1 - below - above):.1f} | {100 * below:.1f} | {100 * above:.1f} |"


QUESTIONS: dict[str, tuple[Callable[[Outcomes], Found], Callable[[list[float]], float]]] = {
    "a run": (lambda x: mean_over_seeds(x[1]), lambda p: p[1]),
    "between two runs": (
        lambda x: accuracy_at(curve(x[:3]), 1.4),
        lambda p: 0.6 * p[0] + 0.4 * p[1],
    ),
    "area": (lambda x: area_under_curve(curve(x[:3])), mean_height),
    "difference of two runs": (lambda x: difference(x[1], x[0]), lambda p: p[1] - p[0]),
    "difference of equal runs": (lambda x: difference(x[1], x[4]), lambda p: 0.0),
    "difference of areas": (lambda x: area_difference(curve(x[3:]), curve(x[:3])), lambda p: 0.0),
}


def main() -> None:
    """Print the tables."""
    print("| question, accuracy, images, ease | holds | below | above |")
    for share, images in SETTINGS:
        for ease in (0.0, 2.0):
            shares = around(share)
            data = list(runs(shares * 2, images, ease))
            for name, (read, true) in QUESTIONS.items():
                title = f"{name}, {share:.1%}, {images}, {ease:g}"
                print(row(title, [read(x) for x in data], true(shares)), flush=True)
            seeded = runs([share], images, ease, seeds=3)
            found: list[Found] = [mean_over_seeds(x[0]) for x in seeded]
            print(row(f"three seeds, {share:.1%}, {images}, {ease:g}", found, share), flush=True)


if __name__ == "__main__":
    main()
