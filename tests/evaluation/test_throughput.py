"""Speed is measured in turns, within a time, for all runs of a pass together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keeprate.evaluation import comparison_runner
from keeprate.evaluation.events import Event, Note, SpeedAdvanced
from keeprate.evaluation.speed import ModelSpeed, SpeedUp
from keeprate.evaluation.throughput import _throughput
from keeprate.evaluation.timing import Rounds, Treatment, in_turns
from keeprate.results.measured import Throughput
from keeprate.results.store import Store
from results_factory import make_throughput
from run_factory import request, run


class Turns:
    """Timers of one second each on a clock of their own, and who had a turn when."""

    def __init__(self, number: int) -> None:
        self.now = 0.0
        self.calls: list[int] = []
        self.shares: list[float] = []
        self.timers: list[Callable[[], float]] = [self._timer(which) for which in range(number)]

    def _timer(self, which: int) -> Callable[[], float]:
        def run() -> float:
            self.calls.append(which)
            self.now += 1
            return self.now

        return run

    def watch(self, turn: int, share: float) -> bool:
        self.shares.append(share)
        return True

    def rounds(self, rounds: int, most_seconds: float, **how: Any) -> list[list[float]]:
        how = {"watch": self.watch, **how}
        asked = Rounds(3, rounds, most_seconds)
        return in_turns(self.timers, asked, clock=lambda: self.now, **how)


def test_every_other_round_goes_backwards_and_the_first_does_not_count() -> None:
    turns = Turns(3)
    assert turns.rounds(2, 1000) == [[6, 5, 4], [7, 8, 9]]
    assert turns.calls == [0, 1, 2, 2, 1, 0, 0, 1, 2]
    assert turns.shares == pytest.approx([turn / 9 for turn in range(9)])


@pytest.mark.parametrize(
    ("most_seconds", "counted", "seconds"), [(20, 5, 18), (18, 5, 18), (17, 4, 15), (1, 3, 12)]
)
def test_as_many_rounds_as_fit_into_the_time_but_at_least_three(
    most_seconds: float, counted: int, seconds: float
) -> None:
    turns = Turns(3)
    assert len(turns.rounds(50, most_seconds)) == counted
    assert turns.now == seconds
    assert turns.shares == sorted(turns.shares)
    assert 0.7 < turns.shares[-1] < 1


def test_what_was_timed_before_it_is_ended_counts_by_whole_rounds() -> None:
    turns = Turns(2)
    assert turns.rounds(50, 1000, watch=lambda turn, share: turns.now < 9) == [
        [4, 3],
        [5, 6],
        [8, 7],
    ]


def test_the_speed_up_is_the_median_of_the_ratios_of_rounds() -> None:
    unpruned, reduced = (
        ModelSpeed(seconds, 16, 1e9) for seconds in ((2.0, 2.0, 8.0), (1.0, 0.5, 8.0))
    )
    found = _throughput(SpeedUp(reduced, unpruned), Treatment("32-true", "cpu", 16))
    assert (found.ratio, found.ratios, found.rounds) == (2, (2, 4, 1), 3)
    assert (found.images_per_second, found.unpruned_images_per_second) == (16, 8)


TWO = [("random", {}, "keep=0.7@3"), ("tome", {}, "r=4")]


@pytest.mark.parametrize("measured", [2, 0])
def test_the_runs_of_a_pass_are_timed_together(
    measured: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(TWO, limit=4)
    heard: list[Event] = []
    called: list[int] = []

    def measure(models: Sequence[object], **how: Any) -> list[Throughput]:
        called.append(len(models))
        if models:
            assert how["batch_size"] == 4
            assert how["watch"](0, 0.25)
            assert how["watch"](2, 0.5)
        return [make_throughput(1.25), make_throughput(1.5)][: min(measured, len(models))]

    monkeypatch.setattr(comparison_runner, "measure_together", measure)
    timed = replace(asked, options=replace(asked.options, throughput=True))
    store = tmp_path / "alone"  # finished runs are looked for in the folders beside a store
    run(store, timed, listen=heard.append)
    assert [number for number in called if number] == [2]
    results = {result.run.method: result for result in Store(store).results()[0]}
    speeds = {name: result.measured.throughput for name, result in results.items()}
    assert speeds["full"] is None
    assert [speed and speed.ratio for speed in (speeds["random"], speeds["tome"])] == (
        [1.25, 1.5] if measured else [None, None]
    )
    told = [event.text for event in heard if isinstance(event, Note)]
    unknown = "No speed is known of 2 finished runs: with --force it is measured."
    assert told == ([] if measured else [unknown])
    assert [event for event in heard if isinstance(event, SpeedAdvanced)] == [
        SpeedAdvanced(results["full"].id, 0.25),
        SpeedAdvanced(results["tome"].id, 0.5),
    ]


def test_runs_that_finished_without_speed_are_told_where_it_is_asked_for(tmp_path: Path) -> None:
    asked = request(TWO, limit=4)
    run(tmp_path / "store", asked)
    told: list[Event] = []
    run(
        tmp_path / "store",
        replace(asked, options=replace(asked.options, throughput=True)),
        listen=told.append,
    )
    assert [event.text for event in told if isinstance(event, Note)] == [
        "No speed is known of 2 finished runs: with --force it is measured."
    ]
