"""Time reduced models against the unpruned one, in turns, and compare with what the MACs promise.

    python benchmarks/speed.py [--model NAME] [--budget GMACS] [--batch-size 16 64] [--rounds N]
                               [--method NAME[:PARAMETERS] ...] [--accelerator cpu]
                               [--precision 32-true]

Weights are random: speed does not depend on them. Every round runs the unpruned model and each
method once, one after the other; a row gives the median over rounds of (unpruned seconds /
seconds), the ratio of MACs (overhead included) and the fraction of it that is reached. The floor is
a method that drops the last tokens without looking at any: what the same counts allow.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import Tensor

import keeprate
from keeprate import Attention, Method, Needs, Place, Stage, Tokens
from keeprate._devices import device_name, device_of
from keeprate.evaluation.throughput import DTYPES
from keeprate.plugins.parameters import parse_spec


class Floor(Method):
    """Drops the last patch tokens after the block, looking at nothing."""

    name = "floor"
    position = Place.AFTER_BLOCK
    needs = Needs.NOTHING
    default_blocks = (1, 3, 5, 7, 9)

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Keep the first tokens."""
        index = torch.arange(tokens.num_prefix + stage.keep, device=tokens.x.device)
        return tokens.keep(index.expand(len(tokens.x), -1))


def timed(model: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Return the seconds of one forward pass."""
    started = time.perf_counter()
    with torch.inference_mode():
        model(images)
    if images.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measure(asked: argparse.Namespace, batch_size: int) -> None:
    """Print the table for one batch size."""
    device = device_of(asked.accelerator)
    dtype = DTYPES[asked.precision.partition("-")[0]]
    plain = timm.create_model(asked.model).eval().to(device=device, dtype=dtype)
    models = {"unpruned": plain, "floor": keeprate.reduce(plain, Floor(), budget=asked.budget)}
    for spec in asked.method:
        name, values = parse_spec(spec)
        models[spec] = keeprate.reduce(plain, name, budget=asked.budget, **values)
    height, width = keeprate.reduce(plain, "random", "r=1").backbone.image_size
    images = torch.randn(batch_size, 3, height, width, device=device, dtype=dtype)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for round_ in range(asked.rounds + 1):
        for name, model in models.items():
            spent = timed(model, images)
            if round_:  # the first round warms up
                seconds[name].append(spent)
    unpruned = keeprate.macs(plain)
    print(
        f"\n{asked.model}, {asked.precision}, batch {batch_size}, {device_name(device)}, "
        f"median of {asked.rounds} rounds\n"
    )
    print("| method | GMACs | images/s | speed-up | MACs promise | fraction reached |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, model in models.items():
        pairs = zip(seconds["unpruned"], seconds[name], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        cost = keeprate.macs(model)
        speed = batch_size / statistics.median(seconds[name])
        print(
            f"| {name} | {cost / 1e9:.3f} | {speed:.1f} | {ratio:.3f} | {unpruned / cost:.3f} | "
            f"{ratio * cost / unpruned:.3f} |"
        )


def main() -> None:
    """Read the options and print a table for each batch size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="deit_small_patch16_224")
    parser.add_argument("--budget", default="3.05")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--method", nargs="+", default=["zero-tprune", "tome", "attention-score"])
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--precision", default="32-true")
    asked = parser.parse_args()
    for batch_size in asked.batch_size:
        measure(asked, batch_size)


if __name__ == "__main__":
    main()
