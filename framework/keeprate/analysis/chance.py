"""Whether the unpruned model does no better than guessing, as one whose classes are mixed up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from scipy.special import bdtr

from ..errors import KeeprateError
from ..results.store import Store
from .metrics import compared_metric

if TYPE_CHECKING:
    from .runs import RunGroup

_LEVEL: Final = 0.01
"""Probability up to which an outcome is no accident."""
_LEAST_USE: Final = 0.25
"""Share of the way from guessing to no mistake that a model in use has come at the very least."""


def at_chance(right: int, images: int, classes: int) -> bool:
    """Tell whether `right` of `images` says that a model does no better than guessing, or worse.

    Two exact binomial tests at 1 %: guessing is right so often, and a model that has come a quarter
    of the way from guessing to no mistake is not so seldom. Of few images neither says anything.
    """
    if not images or classes < 2:
        return False
    guessing = 1 / classes
    better = guessing + _LEAST_USE * (1 - guessing)
    guessed_as_often = 1 - float(bdtr(float(right - 1), images, guessing)) if right else 1.0
    return guessed_as_often > _LEVEL and float(bdtr(float(right), images, better)) < _LEVEL


def chance_notes(groups: Sequence[RunGroup], store: Store) -> list[str]:
    """Return a line for each group whose unpruned model does no better than guessing."""
    try:
        metric = compared_metric(None)
    except KeeprateError:  # no metric says what is right
        return []
    notes = []
    for group in groups:
        unpruned = group.unpruned
        classes = None if unpruned is None else store.num_classes(unpruned.id)
        if unpruned is None or classes is None or metric.unit != "%":
            continue
        measured = unpruned.result.measured
        right = round(measured.metrics.get(metric.name, 1.0) * measured.images)
        if at_chance(right, measured.images, classes):
            notes.append(
                f"{group.title}: the unpruned model is right on {right:,} of {measured.images:,}, "
                f"no better than guessing among {classes:,} classes. Is the order of the classes "
                "the model's (labels=FILE gives it), are weights and preprocessing its own?"
            )
    return notes
