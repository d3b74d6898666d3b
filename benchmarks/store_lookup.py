"""What it takes to go through a study again whose runs are all finished.

    python benchmarks/store_lookup.py [--runs N] [--megabytes N] [--rounds N]

The digits and their classifier, with random pruning under as many seeds as runs are asked for; the
results are made up, nothing is computed. The unpruned model's logits are as large as those of
ImageNet's validation images. The study is begun again in its own folder and, taking all runs over,
in a new folder beside it. Counted are the files that Python opens for reading, and what polars
opens by its own code; the time is that of `run` alone, without making the comparison.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from keeprate.evaluation.comparison_runner import RunContext
from keeprate.evaluation.runner import run
from keeprate.request import Cost, DataSpec, LoopOptions, ModelSpec, Options, Request, RunSpec
from keeprate.results.environment import environment
from keeprate.results.measured import Macs, Measured
from keeprate.results.records import ROW_SCHEMA, Result
from keeprate.results.store import Store
from keeprate.study.build import build_engine, prepare
from keeprate.study.comparison import Comparison

opened: Counter[str] = Counter()


def count_reading() -> None:
    """Count from now on, by suffix, the files of a store that are opened for reading."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and arguments[1] in ("r", "rb"):
            opened[Path(arguments[0]).suffix] += 1

    sys.addaudithook(audit)
    for name in ("read_parquet_schema", "read_parquet"):
        setattr(pl, name, counted(getattr(pl, name)))


def counted(reader: Any) -> Any:
    """Return a reader of polars that counts its calls."""

    def read(*arguments: Any, **options: Any) -> Any:
        opened[".parquet"] += 1
        return reader(*arguments, **options)

    return read


def fill(store: Store, comparison: Comparison, megabytes: int) -> None:
    """Store a made-up result of every run, and logits of the unpruned model."""
    ids, constant = comparison.sample_ids(), {"top5": [0] * 5, "tokens": [65] * 12, "macs": 1}
    columns = {name: [constant.get(name, 0)] * len(ids) for name in ROW_SCHEMA}
    rows = pl.DataFrame({**columns, "sample": ids}, schema=ROW_SCHEMA, strict=False)
    macs = Macs(model=1, overhead=0, total=1, unpruned=1)
    figures = {"top1": 0, "top5": 0, "agreement": 0, "kl": 0, "wall_seconds": 1}
    measured = Measured(images=len(ids), macs=macs, tokens=(65,) * 12, throughput=None, **figures)
    where = environment("2026-01-01T00:00:00+00:00", "cpu", 64, 0, ())
    for job in comparison.jobs:
        store.write(Result(run=job.info, measured=measured, environment=where), rows)
    logits = np.zeros((len(ids), megabytes * 10**6 // (4 * len(ids))), np.float32)
    store.write_logits(comparison.unpruned.id, ids, logits)


def again(comparison: Comparison, folder: Path) -> tuple[float, Counter[str]]:
    """Go through the finished study once, into `folder`: seconds, and files opened by suffix."""
    context = RunContext(Store(folder), build_engine(None), lambda event: None, bool)
    context.store.prepare()
    comparison.reference = None
    opened.clear()
    began = time.perf_counter()
    run(comparison, context)
    seconds = time.perf_counter() - began
    assert len(context.tally.reused) == len(comparison.jobs)
    return seconds, opened.copy()


def main() -> None:
    """Go through the study both ways in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    runs = [RunSpec("random", {"seed": seed}, Cost("keep=0.5@3")) for seed in range(asked.runs)]
    options = Options(LoopOptions(accelerator="cpu"), throughput=False)
    comparison = prepare(Request(ModelSpec(), DataSpec("digits"), tuple(runs), options))
    found: dict[str, list[tuple[float, Counter[str]]]] = {"its own": [], "a new one": []}
    with tempfile.TemporaryDirectory() as folder:
        fill(Store(Path(folder) / "a"), comparison, asked.megabytes)
        count_reading()
        for _ in range(asked.rounds):
            with tempfile.TemporaryDirectory(prefix="b", dir=folder) as beside:
                found["its own"].append(again(comparison, Path(folder) / "a"))
                found["a new one"].append(again(comparison, Path(beside)))
    print("| folder | seconds, median (lowest to highest) | descriptions | rows | logits |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, rounds in found.items():
        seconds, files = [each[0] for each in rounds], rounds[-1][1]
        spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        counts = " | ".join(f"{files[suffix]}" for suffix in (".json", ".parquet", ".npy"))
        print(f"| {name} | {spread} | {counts} |")


if __name__ == "__main__":
    main()
