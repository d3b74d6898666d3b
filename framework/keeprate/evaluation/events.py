"""What running comparisons tell as they go: one frozen event for each thing that happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..results.records import Failure, Result


@dataclass(frozen=True)
class Note:
    """Something a user should know, in one line."""

    text: str


@dataclass(frozen=True)
class ComparisonStarted:
    """A model and a data set are ready. `labels` names every run by id; `images` are per run."""

    title: str
    labels: Mapping[str, str]
    images: int


@dataclass(frozen=True)
class RunReused:
    """A run that was finished before; `source` is the folder it was found in."""

    id: str
    label: str
    source: str


@dataclass(frozen=True)
class PassStarted:
    """A pass over the data begins, for the runs of these ids, or several at the same time.

    `images` are those still to do, `images_before` those that an interrupted pass had done; of
    several passes they are added up.
    """

    ids: Sequence[str]
    images: int
    images_before: int


@dataclass(frozen=True)
class PassAdvanced:
    """Another `images` images were seen by every run of a pass.

    `top1` computes each run's accuracy so far (0 to 1), by id; it may have to wait for a GPU, so
    call it seldom.
    """

    images: int
    top1: Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class PassEnded:
    """The pass is over (or was interrupted); its runs are now finished, failed or left."""


@dataclass(frozen=True)
class RunFinished:
    """A run is stored."""

    label: str
    result: Result


@dataclass(frozen=True)
class RunFailed:
    """A run failed; the others go on."""

    label: str
    failure: Failure


Event: TypeAlias = (
    Note
    | ComparisonStarted
    | RunReused
    | PassStarted
    | PassAdvanced
    | PassEnded
    | RunFinished
    | RunFailed
)

Listener: TypeAlias = Callable[[Event], None]
"""Hears every event, in order, in the process that writes."""


def to_all(listeners: Sequence[Listener]) -> Listener:
    """Return a listener that passes every event on to several."""

    def listen(event: Event) -> None:
        for each in listeners:
            each(event)

    return listen
