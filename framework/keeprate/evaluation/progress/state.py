"""How far running comparisons have come: their runs by state, the current pass, the time left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Final

from ..events import (
    ComparisonStarted,
    Event,
    PassAdvanced,
    PassEnded,
    PassStarted,
    RunFailed,
    RunFinished,
    RunReused,
)

_MEMORY_SECONDS: Final = 60.0
"""What is this long ago counts for the speed 1/e as much as what is now."""


class State(Enum):
    """Where a run stands; the value is the word that is shown."""

    DONE = "done"
    FAILED = "failed"
    LEFT = "left"
    REUSED = "reused"


class SmoothedSpeed:
    """Images per second, smoothed: the longer ago, the less it counts."""

    def __init__(self, now: float) -> None:
        self.since = now
        self._images = self._seconds = 0.0

    def add(self, images: int, now: float) -> None:
        """Count images that were done between the last call and `now` (in seconds)."""
        passed = max(0.0, now - self.since)
        kept = math.exp(-passed / _MEMORY_SECONDS)
        self._images = self._images * kept + images
        self._seconds = self._seconds * kept + passed
        self.since = now

    @property
    def images_per_second(self) -> float | None:
        """None until images were done in a time that could be measured."""
        if not self._images or not self._seconds:
            return None
        return self._images / self._seconds


class PassProgress:
    """The pass over the data that is under way: `done` of `images` images, for runs of `ids`."""

    def __init__(self, ids: Sequence[str], images: int, done: int, now: float) -> None:
        self.ids, self.images, self.done = tuple(ids), images, done
        self.speed = SmoothedSpeed(now)
        self.top1: Mapping[str, float] = {}

    def advance(self, images: int, now: float) -> None:
        """Count images done since the last call."""
        self.done += images
        self.speed.add(images, now)

    def seconds_left(self, now: float) -> float | None:
        """None as long as there is no speed."""
        speed = self.speed.images_per_second
        if speed is None:
            return None
        return max(0.0, (self.images - self.done) / speed - (now - self.speed.since))


class ProgressState:
    """Listens and keeps count; `clock` returns seconds.

    `title` is that of the comparison under way, `states` has every run by id, `current` is None
    between passes.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.began = clock()
        self.title = ""
        self.states: dict[str, State] = {}
        self.current: PassProgress | None = None
        self._labels: dict[str, str] = {}
        self._images: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Hear an event; one that changes no count is passed over."""
        match event:
            case ComparisonStarted():
                self._begin(event)
            case PassStarted(ids, images, before):
                self.current = PassProgress(ids, images + before, before, self.clock())
            case PassAdvanced(images):
                if self.current is not None:
                    self.current.advance(images, self.clock())
            case PassEnded():
                self.current = None
            case RunReused(run_id):
                self.states[run_id] = State.REUSED
            case RunFinished(_, result):
                self.states[result.id] = State.DONE
            case RunFailed(_, failure):
                self.states[failure.id] = State.FAILED

    def _begin(self, event: ComparisonStarted) -> None:
        self.title = event.title
        self._labels.update(event.labels)
        self._images.update(dict.fromkeys(event.labels, event.images))
        for run_id in event.labels:
            self.states.setdefault(run_id, State.LEFT)

    def label(self, run_id: str) -> str:
        """What people call a run: its label, or the id of one that was never announced."""
        return self._labels.get(run_id, run_id)

    def counts(self) -> Counter[State]:
        """How many runs are in each state."""
        return Counter(self.states.values())

    def seconds_left(self) -> float | None:
        """A guess for all runs announced: those after this pass cost what those of it do.

        None without a speed, and where nothing comes after this pass.
        """
        if self.current is None:
            return None
        speed, now = self.current.speed.images_per_second, self.clock()
        first = self.current.seconds_left(now)
        later = sum(self._images.get(run_id, 0) for run_id in self._waiting())
        if speed is None or first is None or not later:
            return None
        return first + later / (speed * max(1, len(self.current.ids)))

    def _waiting(self) -> list[str]:
        """The runs left that the pass under way does not serve."""
        served = () if self.current is None else self.current.ids
        left = (run_id for run_id, state in self.states.items() if state is State.LEFT)
        return [run_id for run_id in left if run_id not in served]
