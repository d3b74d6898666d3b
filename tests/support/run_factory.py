"""Small studies on digits, for tests that need real runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from keeprate.evaluation.comparison_runner import StudyOutcome
from keeprate.evaluation.events import Event
from keeprate.evaluation.runner import execute
from keeprate.request import Cost, DataSpec, LoopOptions, ModelSpec, Options, Request, RunSpec
from keeprate.results.store import Store
from keeprate.study.build import build_engine

RUNS = (
    ("random", {}, "keep=0.7@3,6"),
    ("random", {}, "keep=0.7@3,8"),
    ("tome", {}, "r=4"),
    ("zero-tprune", {"pattern": "I"}, "keep=0.6@3"),
    ("attention-score", {}, "keep=0.5@6"),
)


def request(
    runs: Sequence[tuple[str, dict[str, Any], str]] = RUNS, limit: int = 24, **options: Any
) -> Request:
    """A comparison of a few methods on digits: 24 images in batches of 4, saved after each."""
    loop = {"batch_size": 4, "accelerator": "cpu", "checkpoint_batches": 1}
    loop |= {name: options.pop(name) for name in list(options) if name in _LOOP}
    wanted = tuple(RunSpec(method, values, Cost(schedule)) for method, values, schedule in runs)
    asked = Options(LoopOptions(**loop), limit=limit, throughput=False, **options)
    return Request(ModelSpec(), DataSpec("digits"), wanted, asked)


def run(
    folder: Path,
    *requests: Request,
    listen: Callable[[Event], None] = lambda event: None,
    stopping: Callable[[], bool] = lambda: False,
    engine: str | None = None,
) -> StudyOutcome:
    """Run comparisons into a store."""
    return execute(requests or [request()], Store(folder), build_engine(engine), listen, stopping)


def rows_of(folder: Path) -> dict[str, pl.DataFrame]:
    """The rows of every finished run of a store, by id."""
    store = Store(folder)
    results, problems = store.results()
    assert problems == []
    return {result.id: store.rows(result.id) for result in results}


def same(one: dict[str, pl.DataFrame], other: dict[str, pl.DataFrame]) -> bool:
    """Whether two stores have the same runs with the same rows, bit for bit."""
    return one.keys() == other.keys() and all(one[name].equals(other[name]) for name in one)


_LOOP = set(LoopOptions.__dataclass_fields__)
