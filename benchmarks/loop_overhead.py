"""What the loop costs a run on top of the run's own forward passes.

    python benchmarks/loop_overhead.py WEIGHTS.safetensors IMAGENET_FOLDER [--limit N] [--rounds N]

Model and images as in benchmarks/grid.py, decoded once and kept. A pass of the grid's 36 runs is
timed from inside: what is neither the shared forward pass nor waiting for data is the loop's, for
judging, rows, saving and progress. It is compared, run by run, with a bare loop of forward passes
of each run alone over the same batches, timed in turns with it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from grid import request, runs
from torch.utils.data import DataLoader

from keeprate.evaluation import judging
from keeprate.evaluation import lightning_loop as loop
from keeprate.evaluation.comparison_runner import RunContext
from keeprate.evaluation.runner import run
from keeprate.results.store import Store
from keeprate.study.build import build_engine, prepare
from keeprate.study.comparison import Comparison


class Clock:
    """Adds up the time spent inside a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.seconds = function, 0.0

    def timed(self) -> Callable[..., Any]:
        """Return the function, timed."""

        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return self.function(*arguments)
            finally:
                self.seconds += time.perf_counter() - began

        return call


def bare(comparison: Comparison) -> float:
    """Time plain forward passes of every run over all batches."""
    size = comparison.options.loop.batch_size
    batches = list(DataLoader(comparison.samples, size))
    began = time.perf_counter()
    with torch.inference_mode():
        for images, index in batches:
            for job in comparison.jobs:
                job.model(images, index)
    return time.perf_counter() - began


def in_the_loop(comparison: Comparison) -> tuple[float, float]:
    """Time a pass: what its steps take but for the forward passes, and these."""
    forward = Clock(judging.SharedForward.provisional)
    steps = Clock(loop.PassLoop.test_step)
    end = Clock(loop.PassLoop.on_test_epoch_end)
    originals = (judging.SharedForward.provisional, loop.PassLoop.test_step)
    judging.SharedForward.provisional = forward.timed()  # type: ignore[method-assign]
    loop.PassLoop.test_step = steps.timed()  # type: ignore[method-assign]
    loop.PassLoop.on_test_epoch_end = end.timed()  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            position = RunContext(
                Store(Path(folder) / "s"), build_engine(None), lambda e: None, bool
            )
            position.store.prepare()
            run(comparison, position)
    finally:
        judging.SharedForward.provisional, loop.PassLoop.test_step = originals  # type: ignore[method-assign]
        loop.PassLoop.on_test_epoch_end = end.function  # type: ignore[method-assign]
    return steps.seconds + end.seconds - forward.seconds, forward.seconds


def main() -> None:
    """Time both in turns and print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    comparison = prepare(request(asked, runs()))
    shares = []
    for _ in range(asked.rounds):
        around, forward = in_the_loop(comparison)
        alone = bare(comparison)
        shares.append(around / alone)
        count = len(comparison.jobs) * asked.limit
        print(
            f"bare {1e3 * alone / count:.2f} ms per image and run; loop "
            f"{1e3 * around / count:.3f} ms: {around / alone:.2%}; shared forward passes take "
            f"{forward / alone:.2f} of the bare ones"
        )
    low, high = min(shares), max(shares)
    print(f"loop overhead: median {statistics.median(shares):.2%} ({low:.2%} to {high:.2%})")


if __name__ == "__main__":
    main()
