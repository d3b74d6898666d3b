"""Prints how many kernels a forward pass launches on a GPU with each method; it needs no GPU.

What is counted, and how, is said in tests/support/operations.py.

Run: python benchmarks/launches.py [--model NAME] [--budget SHARE] [--batch IMAGES] [METHOD ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import timm
import torch
from torch import nn

import keeprate

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from operations import operations_of


def main() -> None:
    """Print a table of launches and waits, a row for each method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", default=["random", "tome", "zero-tprune"])
    parser.add_argument("--model", default="deit_small_patch16_224")
    parser.add_argument("--budget", default="65%")
    parser.add_argument("--batch", type=int, default=4)
    given = parser.parse_args()
    model: nn.Module = timm.create_model(given.model).eval().to("meta")
    images = torch.empty(given.batch, 3, 224, 224, device="meta")
    plain = operations_of(model, images).launches.total()
    print("| method | launches | stages | beyond the plain model, per stage |")
    print("| --- | ---: | ---: | ---: |")
    print(f"| full | {plain} | | |")
    for name in given.methods:
        reduced = keeprate.reduce(model, name, budget=given.budget)
        launches, stages = operations_of(reduced, images).launches.total(), len(reduced.stages())
        print(f"| {name} | {launches} | {stages} | {(launches - plain) / stages:.1f} |")


if __name__ == "__main__":
    main()
