"""A grid of 36 runs in one pass over the data, against 36 separate runs.

    python benchmarks/grid.py WEIGHTS.safetensors IMAGENET_FOLDER [--limit N] [--cache DIR]

WEIGHTS are timm's `vit_tiny_patch16_224` (as large as DeiT-T), IMAGENET_FOLDER holds WordNet-id
folders. The runs are four methods at nine budgets, all with stages at blocks 3, 6 and 9. Both ways
are timed in turns, from decoding to stored results, without loading the model; the separate runs
find the unpruned run finished.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from keeprate.evaluation.comparison_runner import RunContext
from keeprate.evaluation.runner import run
from keeprate.request import Cost, DataSpec, LoopOptions, ModelSpec, Options, Request, RunSpec
from keeprate.results.store import Store
from keeprate.study.build import build_engine, prepare

METHODS = ("random", "attention-score", "class-attention", "zero-tprune")
BUDGETS = (60, 64, 68, 72, 76, 80, 84, 88, 92)


def runs() -> tuple[RunSpec, ...]:
    """Return the 36 runs."""
    costs = [Cost("keep@3,6,9", f"{budget}%") for budget in BUDGETS]
    return tuple(RunSpec(method, {}, cost) for method in METHODS for cost in costs)


def request(asked: argparse.Namespace, wanted: tuple[RunSpec, ...]) -> Request:
    """Return what is asked for: these runs on the photographs."""
    options = Options(
        LoopOptions(batch_size=asked.batch_size, accelerator="cpu"),
        limit=asked.limit,
        throughput=False,
        cache_decoded=asked.cache,
    )
    model = ModelSpec("vit_tiny_patch16_224", asked.weights)
    return Request(model, DataSpec("imagenet", {"root": str(asked.folder)}), wanted, options)


def seconds(requests: list[Request], unpruned_first: Request) -> float:
    """Time comparisons that are run one after another into one store."""
    with tempfile.TemporaryDirectory() as folder:
        position = RunContext(Store(Path(folder) / "s"), build_engine(None), lambda e: None, bool)
        position.store.prepare()
        run(prepare(unpruned_first), position)
        prepared = [prepare(each) for each in requests]
        began = time.perf_counter()
        for comparison in prepared:
            run(comparison, position)
        return time.perf_counter() - began


def main() -> None:
    """Time both ways in turns and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    asked = parser.parse_args()
    together = [request(asked, runs())]
    alone = [request(asked, (each,)) for each in runs()]
    unpruned = request(asked, ())
    ratios = []
    for _ in range(asked.rounds):
        one, many = seconds(together, unpruned), seconds(alone, unpruned)
        ratios.append(many / one)
        print(f"one pass {one:.1f} s, 36 separate runs {many:.1f} s, ratio {many / one:.2f}")
    low, high = min(ratios), max(ratios)
    print(f"median ratio {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})")


if __name__ == "__main__":
    main()
