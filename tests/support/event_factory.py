"""Events of a made-up study, and a clock that a test moves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from keeprate.evaluation.events import ComparisonStarted, PassAdvanced, RunFailed, RunFinished
from keeprate.results.records import Failure, RunInfo
from results_factory import make_environment, make_result, make_rows, make_run

FOLDER = Path("runs/study")
RUNS = [make_run("full"), *(make_run("tome", keep) for keep in range(20, 60))]
LABELS = {run.id: f"{run.method} [red]{run.schedule}[/red]" for run in RUNS}
TITLE = "deit_tiny on digits"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def started(runs: int) -> ComparisonStarted:
    return ComparisonStarted(TITLE, dict(list(LABELS.items())[:runs]), 50_000)


def finished(run: RunInfo) -> RunFinished:
    return RunFinished(LABELS[run.id], make_result(run, make_rows(run)))


def failed(run: RunInfo, error: str = "RuntimeError: out of memory") -> RunFailed:
    failure = Failure(run=run, error=error, traceback="", environment=make_environment())
    return RunFailed(LABELS[run.id], failure)


def advanced(
    images: int, values: Mapping[str, float] | None = None, metric: str = "top1"
) -> PassAdvanced:
    return PassAdvanced(images, metric, lambda: values or {})
