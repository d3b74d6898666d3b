"""How alike runs are, from what each of them does to the same images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Final, TypeVar

import numpy as np

from ..analysis.statistics.alikeness import (
    Owners,
    Scores,
    chance_overlap,
    grouping_agreement,
    kept_overlap,
    own_patches,
    rank_correlation,
)
from ..results.picture_index import PicturedAlike, PicturedPair
from .end_pictures import end_owners
from .token_tracks import ImageTrace

T = TypeVar("T")
MOST_IMAGES: Final = 16
"""Most images on which runs are compared patch by patch: each goes through every run anew."""


def spread(samples: Sequence[str], most: int) -> list[str]:
    """Return at most `most` of the samples, evenly spread over all of them."""
    number = min(len(samples), most)
    return [samples[(2 * place + 1) * len(samples) // (2 * number)] for place in range(number)]


def how_alike(ids: Sequence[str], traces: Sequence[ImageTrace]) -> PicturedAlike | None:
    """Return how alike the runs `ids` are, whose tracks the traces have in this order.

    None without a trace.
    """
    if not traces:
        return None
    ends = [_ends(traces, place) for place in range(len(ids))]
    scores = [_scores(traces, place) for place in range(len(ids))]
    pairs = [
        PicturedPair(
            first=ids[first],
            second=ids[second],
            kept=_mean(kept_overlap, ends[first], ends[second]),
            kept_by_chance=_mean(_by_chance, ends[first], ends[second]),
            grouping=_mean(grouping_agreement, ends[first], ends[second]),
            scores=_mean(rank_correlation, scores[first], scores[second]),
        )
        for first, second in combinations(range(len(ids)), 2)
    ]
    return PicturedAlike(images=len(traces), pairs=tuple(pairs))


def _ends(traces: Sequence[ImageTrace], place: int) -> list[Owners]:
    """Return the owners (P,) after the last stage of a run, for each image."""
    return [end_owners(trace, trace.tracks[place]).ravel() for trace in traces]


def _scores(traces: Sequence[ImageTrace], place: int) -> list[Scores]:
    """Return the scores (P,) at the first stage of a run, for each image that has some."""
    first_stages = [trace.tracks[place].moments[:1] for trace in traces]
    maps = [stage.importance for stages in first_stages for stage in stages]
    return [scores.ravel() for scores in maps if scores is not None]


def _by_chance(one: Owners, other: Owners) -> float | None:
    return chance_overlap(one.size, int(own_patches(one).sum()), int(own_patches(other).sum()))


def _mean(
    measure: Callable[[T, T], float | None], one: Sequence[T], other: Sequence[T]
) -> float | None:
    """Return the mean over the images that have the measure; a run without scores has no images."""
    values = [] if len(one) != len(other) else list(map(measure, one, other))
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
