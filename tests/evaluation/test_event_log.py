"""The log for machines: every line is valid JSON, whatever happens to the process and the disk."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from event_factory import Clock
from keeprate.errors import KeeprateError
from keeprate.evaluation.event_log import EventLog
from keeprate.evaluation.events import (
    ComparisonLeft,
    ComparisonStarted,
    Event,
    Note,
    PassAdvanced,
    PassEnded,
    PassStarted,
    RunFailed,
    RunFinished,
    RunReused,
)
from keeprate.results.records import Failure
from paths import DOCS
from results_factory import (
    make_environment,
    make_result,
    make_rows,
    make_run,
    make_throughput,
)

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
RUN = make_run(keep=40, parameters={"scale": float("inf")}, budget="65%")
RESULT = make_result(RUN, make_rows(RUN), make_throughput())
FAILED = RunFailed(
    "tome 65%",
    Failure(run=RUN, error="boom", traceback="a\nb", environment=make_environment()),
)


def make_log(path: Path, clock: Callable[[], float] | None = None) -> EventLog:
    return EventLog(path, lambda: NOON, clock or Clock())


def strict(line: str) -> dict[str, Any]:
    """Read JSON as the standard has it, without Python's NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    content = json.loads(line, parse_constant=refuse)
    assert isinstance(content, dict)
    return content


def logged(path: Path, *events: Event) -> list[dict[str, Any]]:
    log = make_log(path)
    for event in events:
        log(event)
    return [strict(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_every_event_and_field_is_documented(tmp_path: Path) -> None:
    page = (DOCS / "progress.md").read_text(encoding="utf-8")
    lines = logged(
        tmp_path / "log.jsonl",
        Note("text"),
        ComparisonStarted("title", {}, 1),
        ComparisonLeft("title", 3),
        RunReused("id", "label", "source"),
        PassStarted((), 1, 0),
        PassEnded(),
        RunFinished("label", RESULT),
        FAILED,
    )
    for line in [*lines, {"event": "pass-advanced", "images_done": 0, "top1": {}}]:
        (row,) = (row for row in page.splitlines() if row.startswith(f"| `{line['event']}` |"))
        told = page if "what was asked" in row else row
        assert [name for name in line.keys() - {"time", "event"} if f"`{name}`" not in told] == []


def test_the_example_in_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "progress.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(page.split("```python\n")[1].split("```")[0], {})
    (line,) = (tmp_path / "runs" / "example" / "log.jsonl").read_text().splitlines()
    assert strict(line)["text"] == "one line in runs/example/log.jsonl"


def test_each_event_is_a_line_with_its_time_name_and_fields(tmp_path: Path) -> None:
    lines = logged(
        tmp_path / "study" / "log.jsonl",
        Note("two\nlines"),
        ComparisonStarted("deit on digits", {"tome-1": "tome"}, 200),
        RunReused("tome-1", "tome", "runs/other"),
        PassStarted(("tome-1",), 150, 50),
        PassEnded(),
    )
    assert {line.pop("time") for line in lines} == {"2026-01-02T12:00:00.000+00:00"}
    assert lines == [
        {"event": "note", "text": "two\nlines"},
        {
            "event": "comparison-started",
            "title": "deit on digits",
            "labels": {"tome-1": "tome"},
            "images": 200,
        },
        {"event": "run-reused", "id": "tome-1", "label": "tome", "source": "runs/other"},
        {"event": "pass-started", "ids": ["tome-1"], "images": 150, "images_before": 50},
        {"event": "pass-ended", "images_done": 50},
    ]


def test_a_finished_run_is_told_in_full(tmp_path: Path) -> None:
    (line,) = logged(tmp_path / "log.jsonl", RunFinished("tome 65%", RESULT))
    measured = RESULT.measured
    assert line == {
        "time": "2026-01-02T12:00:00.000+00:00",
        "event": "run-finished",
        "id": RUN.id,
        "label": "tome 65%",
        "method": "tome",
        "parameters": {"scale": "inf"},
        "schedule": "40@3",
        "budget": "65%",
        "stages": [{"block": 3, "keep": 40}],
        "backbone": "digits_vit",
        "data": "digits",
        "seed": 0,
        "precision": "float32",
        "images": 200,
        "top1": measured.metrics["top1"],
        "top5": measured.metrics["top5"],
        "agreement": measured.metrics["agreement"],
        "kl": measured.metrics["kl"],
        "macs": measured.macs.total,
        "macs_overhead": measured.macs.overhead,
        "macs_unpruned": measured.macs.unpruned,
        "tokens": list(measured.tokens),
        "wall_seconds": 1.5,
        "images_per_second": 1400.0,
        "throughput_ratio": 1.4,
    }


def test_a_failed_run_is_told_with_its_traceback(tmp_path: Path) -> None:
    (line,) = logged(tmp_path / "log.jsonl", FAILED)
    told = [line[name] for name in ("event", "id", "label", "error", "traceback")]
    assert told == ["run-failed", RUN.id, "tome 65%", "boom", "a\nb"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf")],
)
def test_numbers_json_cannot_spell_are_texts(tmp_path: Path, value: float, text: str) -> None:
    measured = RESULT.measured.model_copy(update={"metrics": {"kl": value}, "throughput": None})
    result = RESULT.model_copy(update={"measured": measured})
    (line,) = logged(tmp_path / "log.jsonl", RunFinished("tome", result))
    assert (line["kl"], line["images_per_second"]) == (text, None)


def test_names_that_are_no_unicode_are_valid_json(tmp_path: Path) -> None:
    (line,) = logged(tmp_path / "log.jsonl", Note("caf\udce9 \u2028 é"))
    assert line["text"] == "caf\udce9 \u2028 é"


@pytest.mark.parametrize("metric", ["top1", "kl"])
def test_a_pass_is_told_every_five_seconds_with_figures_under_their_name(
    metric: str, tmp_path: Path
) -> None:
    clock, asked = Clock(), list[float]()

    def values() -> Mapping[str, float]:
        asked.append(clock.seconds)
        return {RUN.id: 0.5}

    log = make_log(tmp_path / "log.jsonl", clock)
    log(PassStarted((RUN.id,), 120, 30))
    for _ in range(12):
        clock.seconds += 1
        log(PassAdvanced(10, metric, values))
    log(PassEnded())
    lines = [strict(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    told = [(line["event"], line["images_done"], line.get(metric)) for line in lines[1:]]
    assert told == [
        ("pass-advanced", 80, {RUN.id: 0.5}),
        ("pass-advanced", 130, {RUN.id: 0.5}),
        ("pass-ended", 150, None),
    ]
    assert asked == [105.0, 110.0]


def test_a_second_study_appends(tmp_path: Path) -> None:
    logged(tmp_path / "log.jsonl", Note("first"))
    assert [line["text"] for line in logged(tmp_path / "log.jsonl", Note("second"))] == [
        "first",
        "second",
    ]


def test_a_line_cut_short_does_not_break_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"time": "2026-01-02", "ev')
    make_log(path)(Note("after"))
    cut, whole = path.read_text().splitlines()
    assert cut == '{"time": "2026-01-02", "ev'
    assert strict(whole)["text"] == "after"


KILLED = """
import os, signal, sys
from pathlib import Path
from keeprate.evaluation.event_log import EventLog
from keeprate.evaluation.events import Note

log = EventLog(Path(sys.argv[1]))
for number in range(3):
    log(Note(str(number)))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="nothing kills so here")
def test_a_killed_process_has_written_all_it_heard(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [strict(line)["text"] for line in path.read_text().splitlines()] == ["0", "1", "2"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full here")
def test_a_full_disk_is_said_in_one_line() -> None:
    with pytest.raises(KeeprateError) as raised:
        make_log(Path("/dev/full"))(Note("lost"))
    assert str(raised.value) == (
        "Cannot write to /dev: No space left on device. "
        "Free some space there, or choose another folder."
    )


def test_a_folder_that_is_a_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "study").write_text("")
    with pytest.raises(KeeprateError, match=r"^Cannot write to .*A file has the name of the fold"):
        make_log(tmp_path / "study" / "log.jsonl")(Note("lost"))
