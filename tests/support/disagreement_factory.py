"""Stores of runs that disagree: small real ones on digits, and made-up rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from keeprate.cli import keeprate
from keeprate.request import Cost, RunSpec
from keeprate.results.picture_index import PictureIndex, read_index
from keeprate.results.store import Store
from results_factory import make_backbone, make_result, make_rows, make_run
from run_factory import request, run

RUNS = (
    RunSpec("random", {"seed": 3}, Cost(None, "40%")),
    RunSpec("random", {"seed": 3}, Cost(None, "60%")),
    RunSpec("tome", {"proportional_attention": False}, Cost(None, "40%")),
    RunSpec("class-attention", {}, Cost(None, "40%")),
)


def digits_store(folder: Path, runs: Sequence[RunSpec] = RUNS, **options: Any) -> Store:
    """Real runs of the embedded classifier on 40 digits: three methods at 40 %, one at 60 %."""
    run(folder, replace(request([], limit=40, **options), runs=tuple(runs)))
    return Store(folder)


def texts_store(folder: Path) -> Store:
    """Two made-up runs of a model of texts that predict by different luck."""
    store = Store(folder)
    backbone = make_backbone("hf:reviews").model_copy(update={"image_size": (1, 24)})
    for seed, method in enumerate(("full", "tome", "random")):
        keep = 64 if method == "full" else 40
        budget = None if method == "full" else "65%"
        put_run(store, method, keep, seed, backbone=backbone, budget=budget)
    return store


def put_run(store: Store, method: str, keep: int, luck: int, **changes: Any) -> str:
    """Store a made-up run whose predictions are decided by `luck`; return its id."""
    run = make_run(method, keep, **changes)
    rows = make_rows(run, 0.5, luck).with_columns(label=make_rows(run, 0.5, 0)["label"])
    store.write(make_result(run, rows), rows)
    return run.id


def show(*arguments: str | Path) -> Result:
    return CliRunner().invoke(keeprate, ["show", "--disagreeing", *map(str, arguments)])


def error(*arguments: str | Path) -> str:
    done = show(*arguments)
    assert done.exit_code == 2, done.output
    return done.stderr.splitlines()[-1].removeprefix("Error: ")


def index_of(folder: Path) -> PictureIndex:
    index, problems = read_index(folder)
    assert problems == []
    return index
