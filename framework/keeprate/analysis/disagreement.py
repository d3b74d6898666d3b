"""The samples on which methods disagree most, as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PredictedClass:
    """What one run predicts: a class's number, and its `name`, "" where it is not known.

    `pictured` is what the run predicts in the picture where that is another class, else "".
    """

    prediction: int
    name: str
    right: bool
    pictured: str = ""


@dataclass(frozen=True)
class DisagreedSample:
    """One sample. `guesses` are in the order of the runs, `unpruned` is None where it was not run.

    `different_percent` is the share of pairs of runs whose predictions differ, `kl_spread_nats`
    the largest less the smallest KL divergence from the unpruned model. `picture` is the path of a
    PNG file of what each run did to it, "" where none was drawn.
    """

    sample: str
    label: int
    label_name: str
    unpruned: PredictedClass | None
    guesses: tuple[PredictedClass, ...]
    different_percent: float
    kl_spread_nats: float
    picture: str = ""


@dataclass(frozen=True)
class Disagreement:
    """Runs of a group at one cost, and the samples on which they disagree most, the worst first.

    `budget` is "" where the runs were named one by one. `run_ids` and their `labels` go together;
    `text` says in words which were taken. Of `images` that all runs share, predictions differ on
    `differing`. `command` draws pictures, "" for texts, which have no patches to draw.
    """

    budget: str
    run_ids: tuple[str, ...]
    labels: tuple[str, ...]
    text: str
    images: int
    differing: int
    samples: tuple[DisagreedSample, ...]
    command: str
