"""What people see while runs go on: live on a terminal, in plain lines elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from dataclasses import replace

import pytest
from rich.console import Console

from event_factory import FOLDER, LABELS, RUNS, TITLE, Clock, advanced, failed, finished, started
from keeprate.evaluation.events import (
    ComparisonLeft,
    ComparisonStarted,
    Event,
    Note,
    PassAdvanced,
    PassEnded,
    PassStarted,
    RunReused,
    SpeedAdvanced,
)
from keeprate.evaluation.progress.live import LiveProgress
from keeprate.evaluation.progress.plain import PlainProgress, progress
from keeprate.evaluation.progress.state import PassProgress, SmoothedSpeed
from keeprate.evaluation.progress.wording import duration, packed, pass_parts, shortened


def plain(*events: Event) -> list[str]:
    stream = io.StringIO()
    with PlainProgress(FOLDER, stream, Clock()) as listen:
        for event in events:
            listen(event)
    return stream.getvalue().splitlines()


def live(width: int = 80, height: int = 24) -> tuple[LiveProgress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=True, width=width, height=height)
    return LiveProgress(FOLDER, console, clock), stream, clock


def drawn(shown: LiveProgress) -> list[str]:
    """The lines of the display as it would be drawn now."""
    console = Console(width=shown.console.width, file=io.StringIO(), color_system=None)
    with console.capture() as captured:
        console.print(shown.frame())
    return [line.rstrip() for line in captured.get().splitlines()]


def test_plain_lines_tell_each_event() -> None:
    full, first, second, third = RUNS[:4]
    lines = plain(
        started(4),
        Note("images are few"),
        RunReused(full.id, LABELS[full.id], "runs/study"),
        RunReused(first.id, LABELS[first.id], "runs/other"),
        PassStarted([second.id, third.id], 48_720, 1280),
        failed(third),
        PassEnded(),
        finished(second),
    )
    measured = finished(second).result.measured
    figures = measured.metrics
    assert lines == [
        "deit_tiny on digits: 4 runs, 50,000 images each",
        "Note: images are few",
        "full [red][/red]: finished before, not run again (--force would)",
        "tome [red]20@3[/red]: reused from runs/other",
        "One pass for 2 runs: 50,000 images, 1,280 done before",
        "tome [red]22@3[/red]: FAILED: RuntimeError: out of memory",
        f"tome [red]21@3[/red]: top-1 {100 * figures['top1']:.2f}%, "
        f"agreement {100 * figures['agreement']:.2f}%, KL {figures['kl']:.4f}, "
        f"{measured.macs.total / 1e9:.4f} GMACs, 1.5 s",
        "1 done, 1 failed, 0 left, 2 reused",
    ]


def test_plain_lines_say_how_far_a_pass_is_every_thirty_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(FOLDER, stream, clock) as listen:
        listen(started(36))
        listen(PassStarted([run.id for run in RUNS[:36]], 50_000, 0))
        for _ in range(65):
            clock.seconds += 1
            listen(advanced(312))
    assert stream.getvalue().splitlines()[2:-1] == [
        "9,360 of 50,000 images, 36 runs, 312 images/s, 2 min 10 s left",
        "18,720 of 50,000 images, 36 runs, 312 images/s, 1 min 40 s left",
    ]


def test_plain_lines_never_ask_for_accuracies() -> None:
    def values() -> Mapping[str, float]:
        raise AssertionError("asked")

    lines = plain(started(2), PassStarted([RUNS[0].id], 10, 0), PassAdvanced(10, "top1", values))
    assert lines[-1] == "0 done, 2 left"


def test_nothing_is_said_of_no_event() -> None:
    assert plain() == []


def test_an_event_is_one_line_that_cannot_steer_a_terminal() -> None:
    lines = plain(Note("two\nlines\x1b[2J\r"), failed(RUNS[1], "Error: a\nb"))
    assert lines[:2] == ["Note: two lines\\x1b[2J", "tome [red]20@3[/red]: FAILED: Error: a b"]


def test_a_stream_that_is_no_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert isinstance(progress(FOLDER, io.StringIO()), PlainProgress)


def test_a_closed_standard_error_is_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with progress(FOLDER) as listen:
        listen(Note("nobody reads this"))


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(progress(FOLDER, stream), PlainProgress)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert isinstance(progress(FOLDER, stream), LiveProgress)


def test_the_display_shows_counts_pass_and_accuracies() -> None:
    shown, _, clock = live()
    ids = [run.id for run in RUNS[2:4]]
    for event in (
        started(6),
        RunReused(RUNS[0].id, "", "runs/study"),
        finished(RUNS[1]),
        PassStarted(ids, 40_000, 10_000),
    ):
        shown(event)
    clock.seconds += 10
    shown(advanced(10_000, {ids[0]: 0.814}))
    shown(failed(RUNS[3]))
    lines = drawn(shown)
    assert lines[:4] == [
        "deit_tiny on digits",
        "1 done, 1 failed, 3 left, 1 reused, after 10 s",
        "20,000 of 50,000 images, 2 runs, 1,000 images/s",
        # 10 s of 90 s are a ninth of 57 places
        f"{'━' * 6}{' ' * 51}  about 1 min 20 s left",
    ]
    assert lines[4:] == ["tome [red]21@3[/red]   81.40%", "tome [red]22@3[/red]   failed"]


def with_budgets(speed_seconds: float = 0.0) -> ComparisonStarted:
    """The unpruned run, and two methods at two budgets, one of which is missing."""
    full, *reduced = RUNS[:4]
    texts = ("tome r 80%", "tome r 50%", "random keep 80%")
    labels = {full.id: "full"} | {run.id: text for run, text in zip(reduced, texts, strict=True)}
    budgets = {run.id: text.split()[-1] for run, text in zip(reduced, texts, strict=True)}
    return ComparisonStarted(TITLE, labels, 100, budgets, speed_seconds)


def test_a_row_is_a_method_and_a_column_a_budget() -> None:
    shown, _, clock = live()
    shown(with_budgets())
    shown(PassStarted([run.id for run in RUNS[:4]], 100, 0))
    clock.seconds += 1
    shown(advanced(50, {run.id: 0.9 - 0.1 * place for place, run in enumerate(RUNS[:4])}))
    assert drawn(shown)[-4:] == [
        "top-1 so far               80%      50%",
        "full           90.00%",
        "tome r                  80.00%   70.00%",
        "random keep             60.00%",
    ]


def test_budgets_without_room_are_counted_among_the_hidden_runs() -> None:
    shown, _, clock = live(width=34)
    shown(with_budgets())
    shown(PassStarted([run.id for run in RUNS[:4]], 100, 0))
    clock.seconds += 1
    shown(advanced(50, {run.id: 0.5 for run in RUNS[:4]}))
    lines = drawn(shown)
    assert lines[-5:-1] == [
        "top-1 so far                 80%",
        "full             50.00%",
        "tome r                    50.00%",
        "random keep               50.00%",
    ]
    assert lines[-1] == "... and 1 more"
    assert not any("50%" in line.split() for line in lines)


def test_while_speed_is_measured_the_figures_stay_and_the_time_left_is_told() -> None:
    shown, _, clock = live()
    shown(with_budgets(speed_seconds=30))
    shown(PassStarted([run.id for run in RUNS[:4]], 100, 0))
    clock.seconds += 10
    shown(advanced(50, {run.id: 0.5 for run in RUNS[:4]}))
    # 10 s for the other half of the images, and 30 s for speed
    assert drawn(shown)[3].endswith("  about 40 s left")
    clock.seconds += 10
    shown(advanced(50, {run.id: 0.25 for run in RUNS[:4]}))
    shown(PassEnded())
    assert "tome r                  25.00%   25.00%" in drawn(shown)
    shown(SpeedAdvanced(RUNS[0].id, 0.0))
    assert drawn(shown)[3].endswith("  about 30 s left")
    clock.seconds += 5
    shown(SpeedAdvanced(RUNS[1].id, 0.25))
    lines = drawn(shown)
    assert lines[2] == "measuring the speed of tome r 80%"
    assert lines[3].endswith("  about 15 s left")
    assert "tome r                  25.00%   25.00%" in lines


def test_the_bar_never_goes_back() -> None:
    shown, _, clock = live()
    state = shown.tally
    shown(with_budgets())
    shown(PassStarted([RUNS[0].id], 100, 0))
    clock.seconds += 1
    shown(advanced(50))
    before = state.share_done()
    clock.seconds += 60
    shown(advanced(1))
    after = state.share_done()
    assert before is not None
    assert after is not None
    assert after >= before


def test_runs_that_finish_are_in_the_display_and_not_in_a_line_as_well() -> None:
    shown, stream, _ = live()
    with shown:
        for event in (started(3), RunReused(RUNS[0].id, "", "runs/study"), finished(RUNS[1])):
            shown(event)
    assert "GMACs" not in stream.getvalue()
    assert "finished before" not in stream.getvalue()
    assert "1 done, 1 left, 1 reused (--force runs these again)" in stream.getvalue()


def test_before_a_comparison_is_ready_the_display_says_so() -> None:
    assert drawn(live()[0]) == ["getting ready, after 0 s"]


def test_plain_lines_say_when_speed_is_measured_and_how_far_it_is() -> None:
    stream, clock = io.StringIO(), Clock()
    with PlainProgress(FOLDER, stream, clock) as listen:
        for place in range(4):
            listen(SpeedAdvanced(RUNS[1].id, place / 4))
            clock.seconds += 16
    assert stream.getvalue().splitlines() == [
        "Measuring speed, one run after another and back",
        "Measuring speed, 50% done",
    ]


@pytest.mark.parametrize(("metric", "text"), [("top1", "12.30%"), ("kl", "0.1230")])
def test_figures_are_shown_in_the_unit_of_their_metric(metric: str, text: str) -> None:
    shown, _, _ = live()
    shown(started(2))
    shown(PassStarted([RUNS[1].id], 10, 0))
    shown(advanced(1, {RUNS[1].id: 0.123}, metric))
    assert drawn(shown)[-1].split()[-1] == text


def test_before_the_first_pass_only_the_counts_are_shown() -> None:
    shown, _, _ = live()
    shown(started(2))
    assert drawn(shown) == [TITLE, "0 done, 2 left, after 0 s"]


def test_accuracies_are_asked_for_once_a_second_at_most() -> None:
    shown, _, clock = live()
    asked: list[float] = []

    def values() -> Mapping[str, float]:
        asked.append(clock.seconds)
        return {}

    shown(PassStarted([RUNS[0].id], 1000, 0))
    for _ in range(30):
        clock.seconds += 0.1
        shown(PassAdvanced(1, "top1", values))
    assert len(asked) == 3


@pytest.mark.parametrize(("width", "height"), [(200, 60), (80, 24), (40, 12), (30, 8), (12, 4)])
@pytest.mark.parametrize("runs", [1, 12, 13, 41])
def test_the_display_fits_every_terminal(width: int, height: int, runs: int) -> None:
    shown, _, clock = live(width, height)
    shown(started(41))
    shown(PassStarted([run.id for run in RUNS[:runs]], 50_000, 0))
    clock.seconds += 1
    shown(advanced(1280, {run.id: 0.5 for run in RUNS}))
    lines = drawn(shown)
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if "[" in line and "%" in line]
    hidden = [line for line in lines if line.startswith("... and")]
    if height >= 24:
        assert len(rows) == min(runs, 12 if runs <= 12 else 11)
    if width >= 40:
        assert len(lines) < height
        assert hidden == ([f"... and {runs - len(rows)} more"] if len(rows) < runs else [])


def test_markup_of_plugins_is_shown_as_it_is() -> None:
    shown, stream, _ = live(200)
    with shown:
        for event in (started(2), Note("[bold]see[/bold]"), failed(RUNS[1], "[blink]boom")):
            shown(event)
    for text in ("[bold]see[/bold]", "tome [red]20@3[/red]: FAILED: [blink]boom"):
        assert text in stream.getvalue()


def test_a_failure_is_red_and_a_note_yellow() -> None:
    shown, stream, _ = live()
    with shown:
        shown(Note("look"))
        shown(failed(RUNS[1], "boom"))
    assert "\x1b[33mNote: look\x1b[0m" in stream.getvalue()
    assert "\x1b[1;31mtome [red]20@3[/red]: FAILED: boom\x1b[0m" in stream.getvalue()


def test_speed_follows_what_happens_now() -> None:
    speed = SmoothedSpeed(0.0)
    assert speed.images_per_second is None
    for second in range(1, 301):
        speed.add(100, float(second))
    assert speed.images_per_second == pytest.approx(100)
    for second in range(301, 601):
        speed.add(10, float(second))
    assert speed.images_per_second == pytest.approx(10, abs=1)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (156, "2 min 36 s"),
        (3900, "1 h 05 min"),
        (86_399.7, "1 d 0 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_parts_are_packed_into_lines() -> None:
    assert packed(["aa", "bb", "cccc"], 6) == ["aa, bb", "cccc"]
    assert packed(["too long for it", "b"], 6) == ["too long for it", "b"]
    assert packed([], 6) == [""]


def test_long_labels_are_cut_in_the_middle() -> None:
    assert shortened("tome r=8", 8) == "tome r=8"
    assert shortened("zero-tprune r=16", 11) == "zero...r=16"
    assert [len(shortened("abcdefgh", width)) for width in range(8)] == list(range(8))


def test_runs_of_comparisons_that_did_not_begin_are_left() -> None:
    lines = plain(started(3), finished(RUNS[0]), ComparisonLeft("deit on digits", 16))
    assert lines[-2:] == ["deit on digits: not begun", "1 done, 18 left, 1 comparison not begun"]


def test_texts_are_called_texts() -> None:
    begun = replace(started(2), samples="texts", images=1)
    lines = plain(begun, PassStarted([RUNS[0].id], 872, 0))
    assert lines[0].endswith("2 runs, 1 text each")
    assert lines[1] == "One pass for 1 run: 872 texts"
    assert pass_parts(PassProgress((), 872, 5, 0.0, "texts"))[0] == "5 of 872 texts"
