"""Measure the peak memory of one forward pass, unpruned and reduced, each in a process of its own.

    python benchmarks/memory.py [--model NAME[:PIXELS] ...] [--method NAME[:PARAMETERS] ...]
                                [--budget SHARE] [--batch-size N] [--accelerator cpu]

Weights are random: memory does not depend on them. A row gives the memory the pass adds to that
of the model and its images (on a CPU the growth of the process's peak after a warm-up with one
image), and how large all attention matrices of one block would be together.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource

import timm
import torch
from torch import nn

import keeprate
from keeprate._devices import device_name, device_of
from keeprate.backbones.lookup import adapt
from keeprate.plugins.parameters import parse_spec

MIB = 2**20


def built(spec: str) -> nn.Module:
    """Return a model with random weights, for images of PIXELS where the spec says so."""
    name, _, pixels = spec.partition(":")
    sized = {"img_size": int(pixels)} if pixels else {}
    return timm.create_model(name, **sized).eval()


def peak_bytes(
    model: str, method: str, budget: str, batch_size: int, accelerator: str
) -> int | None:
    """Return what one pass of `batch_size` images adds to the memory in use before it.

    None for a method that does not suit the model.
    """
    device = device_of(accelerator)
    runner = built(model).to(device)
    backbone = adapt(runner)
    if method != "unpruned":
        name, values = parse_spec(method)
        try:
            runner = keeprate.reduce(runner, name, budget=budget, **values)
        except keeprate.KeeprateError:
            return None
    images = backbone.example(1).expand(batch_size, -1, -1, -1).contiguous()
    with torch.inference_mode():
        runner(images[:1])
        before = used(device)
        runner(images)
    return used(device) - before


def used(device: torch.device) -> int:
    """Return the most memory in use so far, in bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def matrices_bytes(model: str, batch_size: int) -> int:
    """Return the size of one block's attention matrices for the whole batch, in float32."""
    with torch.device("meta"):
        backbone = adapt(built(model))
    tokens = backbone.num_patches(backbone.image_size) + backbone.num_prefix
    return batch_size * backbone.heads * tokens**2 * 4


def main() -> None:
    """Measure every model with every method and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    models = [
        "vit_tiny_patch16_384",
        "vit_small_patch14_reg4_dinov2",
        "vit_small_patch16_dinov3:512",
        "beit_base_patch16_384",
        "vit_relpos_base_patch16_224",
    ]
    methods = ["tome", "attention-score", "class-attention", "zero-tprune"]
    parser.add_argument("--model", nargs="+", default=models)
    parser.add_argument("--method", nargs="+", default=methods)
    parser.add_argument("--budget", default="65%")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--accelerator", default="cpu")
    asked = parser.parse_args()
    device = device_name(device_of(asked.accelerator))
    print(f"Batch {asked.batch_size}, float32, {device}, {asked.budget} of the MACs; MiB\n")
    print(f"| model | matrices of a block | {' | '.join(['unpruned', *asked.method])} |")
    print("| --- | ---: |" + " ---: |" * (1 + len(asked.method)))
    context = multiprocessing.get_context("spawn")
    for model in asked.model:
        cells: list[int | None] = [matrices_bytes(model, asked.batch_size)]
        for method in ["unpruned", *asked.method]:
            arguments = (model, method, asked.budget, asked.batch_size, asked.accelerator)
            with context.Pool(1) as pool:
                cells.append(pool.apply(peak_bytes, arguments))
        said = ["not suited" if cell is None else f"{cell / MIB:.0f}" for cell in cells]
        print(f"| {model} | {' | '.join(said)} |", flush=True)


if __name__ == "__main__":
    main()
