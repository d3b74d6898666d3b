"""The state of running comparisons: their runs by state, the current pass, the time left."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from ..events import (
    ComparisonLeft,
    ComparisonStarted,
    Event,
    PassAdvanced,
    PassEnded,
    PassStarted,
    RunFailed,
    RunFinished,
    RunReused,
    SpeedAdvanced,
)

_MEMORY_SECONDS: Final = 60.0
"""Images seen this long ago count for the speed 1/e as much as those seen now."""

_SHARE_KNOWN: Final = 0.1
"""The rest of the measurement of speed is worked out from what is over once this share is."""


class State(Enum):
    """The state of a run; the value is the word that is shown."""

    DONE = "done"
    FAILED = "failed"
    LEFT = "left"
    REUSED = "reused"


class SmoothedSpeed:
    """Images per second, smoothed: older images count less."""

    def __init__(self, now: float) -> None:
        self.since = now
        self._images = self._seconds = 0.0

    def add(self, images: int, now: float) -> None:
        """Count images that were done between the last call and `now` (in seconds)."""
        # decayed in both sums, so that their ratio is a weighted mean from the first call on
        elapsed = max(0.0, now - self.since)
        decay = math.exp(-elapsed / _MEMORY_SECONDS)
        self._images = self._images * decay + images
        self._seconds = self._seconds * decay + elapsed
        self.since = now

    @property
    def images_per_second(self) -> float | None:
        """The speed, or None until some images took a time that can be measured."""
        if not self._images or not self._seconds:
            return None
        return self._images / self._seconds


class PassProgress:
    """The current pass over the data: `done` of `images` images, for the runs with these `ids`.

    `samples` says what is counted as images, "images" or "texts".
    """

    def __init__(
        self, ids: Sequence[str], images: int, done: int, now: float, samples: str = "images"
    ) -> None:
        self.ids, self.images, self.done, self.samples = tuple(ids), images, done, samples
        self.speed = SmoothedSpeed(now)

    def advance(self, images: int, now: float) -> None:
        """Count images that were done since the last call."""
        self.done += images
        self.speed.add(images, now)

    def seconds_left(self, now: float) -> float | None:
        """The seconds until the pass ends, or None as long as the speed is not known."""
        speed = self.speed.images_per_second
        if speed is None:
            return None
        # the time since the last batch counts down, so that the display does not stand still
        return max(0.0, (self.images - self.done) / speed - (now - self.speed.since))


class ProgressState:
    """A listener that keeps count of runs and images; `clock` returns seconds.

    `title` is that of the current comparison, `states` has the state of every run by id, `budgets`
    their budgets. `current` is None between passes, `shown` are the runs of the last one that
    began. `timed` is None unless speed is being measured.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.began = clock()
        self.title = ""
        self.states: dict[str, State] = {}
        self.samples = "images"
        """What the current comparison's model classifies."""
        self.not_begun: list[ComparisonLeft] = []
        """The comparisons that a stopped study did not begin."""
        self.current: PassProgress | None = None
        self.shown: tuple[str, ...] = ()
        self.timed: SpeedAdvanced | None = None
        self.budgets: dict[str, str] = {}
        self._speed_seconds = self._timed_since = 0.0
        self._furthest = 0.0
        self._labels: dict[str, str] = {}
        self._images: dict[str, int] = {}

    def __call__(self, event: Event) -> None:
        """Take in an event; one that changes no count is ignored."""
        self._time(event if isinstance(event, SpeedAdvanced) else None)
        match event:
            case ComparisonStarted():
                self._begin(event)
            case ComparisonLeft():
                self.not_begun.append(event)
            case PassStarted(ids, images, images_before):
                self.current = PassProgress(
                    ids, images + images_before, images_before, self.clock(), self.samples
                )
                self.shown = self.current.ids
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
        self.title, self.shown, self._furthest = event.title, (), 0.0
        self.samples = event.samples
        self._labels.update(event.labels)
        self.budgets.update(event.budgets)
        self._speed_seconds = event.speed_seconds
        self._images.update(dict.fromkeys(event.labels, event.images))
        for run_id in event.labels:
            # a run may have its state already, from an earlier comparison of the study
            self.states.setdefault(run_id, State.LEFT)

    def _time(self, event: SpeedAdvanced | None) -> None:
        if self.timed is None:
            self._timed_since = self.clock()
        self.timed = event

    def label(self, run_id: str) -> str:
        """Return the label of a run, or its id if the run was never announced."""
        return self._labels.get(run_id, run_id)

    def counts(self) -> Counter[State]:
        """Return how many runs are in each state."""
        left = sum(comparison.runs for comparison in self.not_begun)
        return Counter(self.states.values()) + Counter({State.LEFT: left})

    def seconds_left(self) -> float | None:
        """Estimate the seconds for all announced runs, at the mean cost of a run of this pass.

        The measurement of speed after this pass counts in. None if the speed is not known.
        """
        later_images = sum(self._images.get(run_id, 0) for run_id in self._waiting())
        if self.timed is not None and not later_images:
            share, elapsed = self.timed.share, self.clock() - self._timed_since
            # the first turns are slow, and few: until then it is what was announced
            known = share > _SHARE_KNOWN and elapsed > 0
            return elapsed * (1 / share - 1) if known else (1 - share) * self._speed_seconds
        if self.current is None:
            return None
        speed, now = self.current.speed.images_per_second, self.clock()
        current_seconds = self.current.seconds_left(now)
        if speed is None or current_seconds is None:
            return None
        # several runs share a pass: later ones are taken to go as many at a time
        later_seconds = later_images / (speed * max(1, len(self.current.ids)))
        return current_seconds + self._speed_seconds + later_seconds

    def share_done(self) -> float | None:
        """Estimate which share of the time is over; None until it is known.

        It never falls, and stays where it is while the time left is not known.
        """
        seconds = self.seconds_left()
        if seconds is not None:
            elapsed = self.clock() - self.began
            self._furthest = max(self._furthest, elapsed / max(elapsed + seconds, 1e-9))
        return self._furthest or None

    def _waiting(self) -> list[str]:
        """Return the runs that are left and did not take part in the last pass."""
        unfinished = (run_id for run_id, state in self.states.items() if state is State.LEFT)
        return [run_id for run_id in unfinished if run_id not in self.shown]
