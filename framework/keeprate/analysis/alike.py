"""How alike the runs at one cost are, as a report shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AlikePair:
    """Two runs by label, `first` and `second`, and how alike they are, as means over images.

    `kept` is the share of the patches with a token of their own in either run that have one in
    both, `kept_by_chance` that of random sets of the same sizes. `grouping` is the adjusted Rand
    index of what they merge, `scores` Spearman's correlation of the scores that they give at their
    first stage. None: of no image, as where neither merges, or one has no scores.
    """

    first: str
    second: str
    kept: float | None
    kept_by_chance: float | None
    grouping: float | None
    scores: float | None


@dataclass(frozen=True)
class Alike:
    """The runs at one cost, pair by pair, on `images` of the images that they share.

    `labels` name them in their order; `text` says in words which runs these are.
    """

    labels: tuple[str, ...]
    text: str
    images: int
    pairs: tuple[AlikePair, ...]
