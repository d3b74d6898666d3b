"""The samples on which methods disagree most, as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PredictedClass:
    """The class that one run predicts: its number, and its `name`, "" where it is not known.

    `right`: it is one of the sample's right classes, as top-1 counts them.
    `pictured` is the class in the run's picture if that is another class, else "".
    """

    prediction: int
    name: str
    right: bool
    pictured: str = ""


@dataclass(frozen=True)
class DisagreedSample:
    """One sample and what each run predicts for it.

    `guesses` are in the order of the runs; `unpruned` is None where there is no unpruned run.
    `different_percent` is the share of pairs of runs whose predictions differ, `kl_spread_nats`
    the largest less the smallest KL divergence from the unpruned model. `picture` is the path of a
    PNG file that shows what each run did to the sample, "" where none was drawn.
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

    `budget` is "" where the runs were named one by one. `run_ids` and `labels` have the same order;
    `text` says in words which runs these are. Predictions differ on `differing` of the `images`
    that all runs share. `command` draws pictures; it is "" for texts, which have no patches.
    """

    budget: str
    run_ids: tuple[str, ...]
    labels: tuple[str, ...]
    text: str
    images: int
    differing: int
    samples: tuple[DisagreedSample, ...]
    command: str
