"""Events of running comparisons: one frozen dataclass for each thing that can happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ..results.records import Failure, Result


@dataclass(frozen=True)
class Note:
    """A message for the user, in one line."""

    text: str


@dataclass(frozen=True)
class ComparisonStarted:
    """A model and a data set are ready. `labels` names the runs by id; `images` are per run.

    `budgets` has the budget of each run that was given one, by id; measuring speed takes about
    `speed_seconds` after a pass, none where it is not asked for.
    """

    title: str
    labels: Mapping[str, str]
    images: int
    budgets: Mapping[str, str] = field(default_factory=dict)
    speed_seconds: float = 0.0


@dataclass(frozen=True)
class ComparisonLeft:
    """The study was stopped before this comparison began; how many runs it has is not known yet."""

    title: str


@dataclass(frozen=True)
class RunReused:
    """A run was finished before; `source` is the folder of the store that holds it."""

    id: str
    label: str
    source: str


@dataclass(frozen=True)
class PassStarted:
    """A pass over the data begins for the runs with these ids; or several passes at once.

    `images` counts those still to do, `images_before` those that an interrupted pass had done. The
    numbers of several passes are added up.
    """

    ids: Sequence[str]
    images: int
    images_before: int


@dataclass(frozen=True)
class PassAdvanced:
    """Every run of a pass has now seen another `images` images.

    `values` computes each run's figure so far by `metric`, the default one, by id and not scaled;
    it may have to wait for a GPU, so call it seldom.
    """

    images: int
    metric: str
    values: Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class PassEnded:
    """The pass has ended or was interrupted. Each of its runs is finished, failed or unfinished."""


@dataclass(frozen=True)
class SpeedAdvanced:
    """Speed is being measured, and it is the turn of the run with this id.

    `share` (0 to 1) of the time for it, or of its rounds, is over.
    """

    id: str
    share: float


@dataclass(frozen=True)
class RunFinished:
    """A run is finished, and its result is in the store."""

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
    | ComparisonLeft
    | RunReused
    | PassStarted
    | PassAdvanced
    | PassEnded
    | SpeedAdvanced
    | RunFinished
    | RunFailed
)

Listener: TypeAlias = Callable[[Event], None]
"""A function that gets every event, in order, in the process that writes the store."""


def to_all(listeners: Sequence[Listener]) -> Listener:
    """Return one listener that passes every event on to each of `listeners`."""

    def listen(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return listen
