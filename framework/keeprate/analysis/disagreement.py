"""The samples on which methods disagree most, as a report shows them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EndPicture:
    """What a run leaves of a sample's `patches` in the end; `picture` is the path of its file.

    They live in `tokens` patch tokens. `dropped` of them are gone, `merged` of them share a token
    with others, and `aside` of them bypass the last blocks and come back before the head.
    """

    patches: int
    tokens: int
    dropped: int
    merged: int
    picture: str
    aside: int = 0


@dataclass(frozen=True)
class PredictedClass:
    """The class that one run predicts: its number, and its `name`, "" where it is not known.

    `right`: it is one of the sample's right classes, as top-1 counts them.
    `pictured` is the class in the run's picture if that is another class, else "".
    `end` is None where it was not drawn.
    """

    prediction: int
    name: str
    right: bool
    pictured: str = ""
    end: EndPicture | None = None

    @property
    def text(self) -> str:
        """The class for people: its name, and its number where that says more."""
        return class_text(self.prediction, self.name)


def class_text(number: int, name: str) -> str:
    """Return a class for people: its name, and its number where that says more."""
    return f"{name} ({number})" if name not in ("", str(number)) else str(number)


@dataclass(frozen=True)
class DisagreedSample:
    """One sample and what each run predicts for it.

    `guesses` are in the order of the runs; `unpruned` is None where there is no unpruned run.
    `different_percent` is the share of pairs of runs whose predictions differ, `kl_spread_nats`
    the largest less the smallest KL divergence from the unpruned model. `picture` is the path of a
    PNG file that shows what each run did to the sample, `input_picture` that of the sample alone,
    where every guess has an `end`; "" where none was drawn.
    """

    sample: str
    label: int
    label_name: str
    unpruned: PredictedClass | None
    guesses: tuple[PredictedClass, ...]
    different_percent: float
    kl_spread_nats: float
    picture: str = ""
    input_picture: str = ""

    @property
    def label_text(self) -> str:
        """The label for people."""
        return class_text(self.label, self.label_name)


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
