"""What a kill -9 in the middle of a study costs, with its rows saved every few seconds.

    python benchmarks/resume.py WEIGHTS.safetensors IMAGENET_FOLDER [--limit N] [--rounds N]

The grid of benchmarks/grid.py as a study in a process of its own: once undisturbed, once killed
half-way and run again. Lost is what both parts took together beyond the undisturbed study; what a
process takes to start and load everything is timed by a study that finds all its runs finished.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from grid import BUDGETS, METHODS


def study(asked: argparse.Namespace, folder: Path) -> list[str]:
    """Write the study and return the command that runs it into a folder."""
    content = {
        "models": {"name": "vit_tiny_patch16_224", "weights": str(asked.weights)},
        "data": {"name": "imagenet", "parameters": {"root": str(asked.folder)}},
        "methods": list(METHODS),
        "schedules": ["keep@3,6,9"],
        "budgets": [f"{budget}%" for budget in BUDGETS],
        "limit": asked.limit,
        "batch_size": 16,
        "workers": 0,
        "accelerator": "cpu",
        "checkpoint_seconds": asked.checkpoint_seconds,
    }
    path = folder / "study.yaml"
    path.write_text(json.dumps(content))  # which is YAML as well
    return [sys.executable, "-m", "keeprate", "run", str(path), "--runs", str(folder)]


def seconds(command: list[str], kill_after: float | None = None) -> float:
    """Time a command, killed after so many seconds if it is still running."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return time.perf_counter() - began


def main() -> None:
    """Time both in turns and print what was lost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--checkpoint-seconds", type=float, default=5.0)
    asked = parser.parse_args()
    lost = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            command = study(asked, Path(one))
            whole, start = seconds(command), seconds(command)
            command = study(asked, Path(other))
            killed = seconds(command, kill_after=start + (whole - start) / 2)
            resumed = seconds(command)
        lost.append(killed + resumed - whole)
        print(
            f"undisturbed {whole:.1f} s; killed after {killed:.1f} s, then {resumed:.1f} s: lost "
            f"{lost[-1]:.1f} s, of which starting again is about {start:.1f} s"
        )
    print(f"lost: median {statistics.median(lost):.1f} s")


if __name__ == "__main__":
    main()
