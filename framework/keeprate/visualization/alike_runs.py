"""How alike runs are, from what each of them does to the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final, TypeVar

import numpy as np

from ..analysis.statistics.alikeness import (
    Owners,
    chance_overlap,
    grouping_agreement,
    kept_overlap,
    own_patches,
    rank_correlation,
)
from ..results.picture_index import PicturedAlike, PicturedPair
from .token_tracks import Reductions

T = TypeVar("T")
MOST_IMAGES: Final = 16
"""Most images on which runs are compared patch by patch: each goes through every run anew."""


def spread(samples: Sequence[str], most: int) -> list[str]:
    """Return at most `most` of the samples, evenly spread over all of them."""
    number = min(len(samples), most)
    return [samples[(2 * place + 1) * len(samples) // (2 * number)] for place in range(number)]


def how_alike(ids: Sequence[str], reductions: Sequence[Reductions | None]) -> PicturedAlike | None:
    """Return how alike the runs `ids` are, which did these `reductions` to the same images.

    Runs without are left out; None if there are none with.
    """
    known = {name: found for name, found in zip(ids, reductions, strict=True) if found is not None}
    if not known:
        return None
    names = list(known)
    ends = [list(each.owners.cpu().numpy()) for each in known.values()]
    scores = [
        [] if each.scores is None else list(each.scores.cpu().numpy()) for each in known.values()
    ]
    pairs = [
        PicturedPair(
            first=names[first],
            second=names[second],
            kept=_mean(kept_overlap, ends[first], ends[second]),
            kept_by_chance=_mean(_by_chance, ends[first], ends[second]),
            grouping=_mean(grouping_agreement, ends[first], ends[second]),
            scores=_mean(rank_correlation, scores[first], scores[second]),
        )
        for first, second in combinations(range(len(names)), 2)
    ]
    return PicturedAlike(images=len(ends[0]), pairs=tuple(pairs))


def _by_chance(one: Owners, other: Owners) -> float | None:
    return chance_overlap(one.size, int(own_patches(one).sum()), int(own_patches(other).sum()))


def _mean(
    measure: Callable[[T, T], float | None], one: Sequence[T], other: Sequence[T]
) -> float | None:
    """Return the mean over the images that have the measure; a run without scores has no images."""
    values = [] if len(one) != len(other) else list(map(measure, one, other))
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
