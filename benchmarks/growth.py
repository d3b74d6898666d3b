"""How time and memory grow with the number of runs in one pass.

    python benchmarks/growth.py WEIGHTS.safetensors IMAGENET_FOLDER [--limit N] [--rounds N]

Model and images as in benchmarks/grid.py. The runs are those of the grid, in finer steps of the
budget where it takes more of them. Every pass has a process of its own, so that the largest
resident memory is its own; the numbers of runs take turns.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grid import METHODS, request

from keeprate.evaluation.comparison_runner import RunContext
from keeprate.evaluation.runner import run
from keeprate.request import Cost, RunSpec
from keeprate.results.store import Store
from keeprate.study.build import build_engine, prepare

NUMBERS = (1, 4, 12, 36, 144)


def runs(number: int) -> tuple[RunSpec, ...]:
    """Return so many runs: all methods in turn, at budgets spread from 60 to 95 %."""
    each = max(1, number // len(METHODS))
    budgets = [60 + 35 * step / each for step in range(each)]
    specs = [RunSpec(m, {}, Cost("keep@3,6,9", f"{b:.3f}%")) for b in budgets for m in METHODS]
    return tuple(specs[:number])


def one_pass(asked: argparse.Namespace) -> dict[str, float]:
    """Run one pass in this process: runs, seconds, and the most memory in MiB."""
    wanted = request(asked, runs(asked.number))
    options = wanted.options.__class__(**{**vars(wanted.options), "runs_per_pass": 1000})
    comparison = prepare(wanted.__class__(**{**vars(wanted), "options": options}))
    with tempfile.TemporaryDirectory() as folder:
        position = RunContext(Store(Path(folder) / "s"), build_engine(None), lambda e: None, bool)
        position.store.prepare()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        began = time.perf_counter()
        run(comparison, position)
        seconds = time.perf_counter() - began
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"runs": len(comparison.jobs) - 1, "seconds": seconds, "most": most, "before": before}


def main() -> None:
    """Run the passes in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--number", type=int, help="run one pass of so many runs, print JSON")
    asked = parser.parse_args()
    if asked.number:
        print(json.dumps(one_pass(asked)))
        return
    found: dict[int, list[dict[str, float]]] = {number: [] for number in NUMBERS}
    for _ in range(asked.rounds):
        for number in NUMBERS:
            command = [sys.executable, *sys.argv, "--number", str(number)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[number].append(json.loads(done.stdout.splitlines()[-1]))
    print("| runs | seconds, median (lowest to highest) | per run | most memory, MiB |")
    print("| ---: | ---: | ---: | ---: |")
    for number, passes in found.items():
        seconds = [each["seconds"] for each in passes]
        middle, most = statistics.median(seconds), max(each["most"] for each in passes)
        spread = f"{middle:.1f} ({min(seconds):.1f} to {max(seconds):.1f})"
        print(f"| {number} | {spread} | {middle / number:.2f} | {most:.0f} |")


if __name__ == "__main__":
    main()
