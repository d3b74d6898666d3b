"""How alike two reductions of one image are: what both keep, what both merge, how both rank.

`owner` (P,) is the token that each patch of the image lives in at the end, -1 for dropped patches.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Owners: TypeAlias = NDArray[np.integer[Any]]
Scores: TypeAlias = NDArray[np.floating[Any]]


def own_patches(owner: Owners) -> NDArray[np.bool_]:
    """Tell for each patch (P,) whether it has a token of its own: kept, and not merged."""
    present = owner >= 0
    patches_of_token = np.bincount(owner[present], minlength=1)
    alone: NDArray[np.bool_] = present & (patches_of_token[owner] == 1)
    return alone


def kept_overlap(one: Owners, other: Owners) -> float | None:
    """Return the share of the patches with a token of their own in either that have one in both.

    None where there is no such patch.
    """
    kept, kept_by_other = own_patches(one), own_patches(other)
    either = int((kept | kept_by_other).sum())
    return int((kept & kept_by_other).sum()) / either if either else None


def chance_overlap(patches: int, kept: int, kept_by_other: int) -> float | None:
    """Return the mean overlap of two random sets of so many of the patches, None of empty ones.

    It is what random pruning has with another seed: exact, from the hypergeometric distribution.
    """
    if not kept + kept_by_other:
        return None
    from scipy.stats import hypergeom

    both = np.arange(max(0, kept + kept_by_other - patches), min(kept, kept_by_other) + 1)
    probability = hypergeom.pmf(both, patches, kept, kept_by_other)
    return float((probability * both / (kept + kept_by_other - both)).sum())


def grouping_agreement(one: Owners, other: Owners) -> float | None:
    """Return the adjusted Rand index of the groups that two reductions merge patches into.

    It is 1 for equal groups and 0 on average for random ones of the same sizes; over the patches
    that neither dropped. None where one of them has merged none of these.
    """
    both = (one >= 0) & (other >= 0)
    number = int(both.sum())
    together, together_in_other = _pairs(one[both]), _pairs(other[both])
    if not together or not together_in_other:
        return None
    # a group of the two partitions together is named by its two tokens
    joint = one[both] * (int(other.max()) + 1) + other[both]
    expected = together * together_in_other / (number * (number - 1) / 2)
    most = (together + together_in_other) / 2
    # all in one token, twice: both are equal, and nothing is left to adjust
    return 1.0 if most == expected else (_pairs(joint) - expected) / (most - expected)


def rank_correlation(one: Scores, other: Scores) -> float | None:
    """Return Spearman's correlation of two scores (P,) of the patches, equal ones sharing a rank.

    None where all scores of one are equal, or one has a score that is no number.
    """
    scores = np.stack([one, other])
    if not np.isfinite(scores).all() or (np.ptp(scores, axis=1) == 0).any():
        return None
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(scores, axis=1))[0, 1])


def _pairs(groups: Owners) -> int:
    """Return how many pairs of patches are in one group."""
    _, sizes = np.unique(groups, return_counts=True)
    return int((sizes * (sizes - 1) // 2).sum())
