"""Print how long Zero-TPrune's page rank takes, its forms in turns.

    python benchmarks/page_rank.py [ROUNDS]

*Each step* makes the sum 1 after every iteration, *squared* multiplies the matrix with itself,
*products* is what keeprate does without a GPU, and *kernel*, where there is one, what it does with
one. Times are medians over the rounds, the ratio is that to *each step* in the same round; on a CPU
they are the processor's time, so that other programs count little. The matrices are of random
logits, every token is in the graph but every seventh.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from keeprate.tokens import at_least_float32
from keeprate_methods.page_rank import by_products, page_rank

ON_CPU = ((1, 6, 197), (16, 6, 197), (64, 3, 65), (64, 3, 17))
ON_GPU = ((1, 6, 197), (256, 6, 197), (256, 12, 197), (32, 16, 577), (4, 16, 1370))
"""Images, heads and tokens."""

ITERATIONS = (5, 30, 50)
MOST_BYTES = 4 * 2**20
"""Matrices for which a CPU is given images at a time, as keeprate does; a GPU gets all at once."""

Form = Callable[[Tensor, Tensor, int], Tensor]


def each_step(weights: Tensor, alive: Tensor, iterations: int) -> Tensor:
    """Return the signals, made to sum to 1 after every iteration."""
    wide, nodes, gain = graph(weights, alive)
    signal = nodes / nodes.sum(dim=-1, keepdim=True)
    for _ in range(iterations):
        signal = ((signal * gain) @ wide) * nodes
        signal = signal / signal.sum(dim=-1, keepdim=True)
    return signal[:, :, 0]


def squared(weights: Tensor, alive: Tensor, iterations: int) -> Tensor:
    """Return the signals by powers of the matrix, one for each bit of the number of iterations."""
    wide, nodes, gain = graph(weights, alive)
    power, signal = wide * gain.transpose(-2, -1), nodes  # gains are 0 outside the graph
    for bit in reversed(f"{iterations:b}"):
        if bit == "1":
            signal = signal @ power
            signal = signal / signal.sum(dim=-1, keepdim=True)
        power = power @ power
        power = power / power.sum(dim=(-2, -1), keepdim=True)
    signal = signal * nodes
    return (signal / signal.sum(dim=-1, keepdim=True))[:, :, 0]


def graph(weights: Tensor, alive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the matrices in float32 or wider, the tokens in the graph and every row's gain."""
    wide = weights.to(at_least_float32(weights.dtype))
    nodes = alive.to(wide.dtype)[:, None, None]
    gain = nodes / (wide @ nodes.transpose(-2, -1)).transpose(-2, -1)
    gain[..., 0] *= nodes.sum(dim=-1).sqrt()
    return wide, nodes, gain


def products(weights: Tensor, alive: Tensor, iterations: int) -> Tensor:
    """Return the signals as they are computed without the kernel."""
    return by_products(weights, iterations, "every", alive, True, None)


def kernel(weights: Tensor, alive: Tensor, iterations: int) -> Tensor:
    """Return the signals as a GPU computes them."""
    return page_rank(weights, iterations=iterations, emphasis="every", alive=alive)


def seconds(form: Form, weights: Tensor, alive: Tensor, iterations: int) -> float:
    """Return how long one form takes for all images, the second time in a row."""
    size = len(weights)
    if not weights.is_cuda:
        size = max(1, MOST_BYTES // weights[0].nbytes)
    clock = time.perf_counter if weights.is_cuda else time.process_time
    parts = list(zip(weights.split(size), alive.split(size), strict=True))
    for _ in range(2):  # the first brings caches to what this form leaves in them
        synchronise(weights)
        start = clock()
        for part, rows in parts:
            form(part, rows, iterations)
        synchronise(weights)
    return clock() - start


def synchronise(weights: Tensor) -> None:
    """Wait for what a GPU has to do."""
    if weights.is_cuda:
        torch.cuda.synchronize()


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    on_gpu = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if on_gpu else ("cpu", torch.float32)
    forms: dict[str, Form] = {"each step": each_step, "squared": squared, "products": products}
    forms |= {"kernel": kernel} if on_gpu else {}
    name = torch.cuda.get_device_name() if on_gpu else f"a CPU, {torch.get_num_threads()} threads"
    print(f"{name}, {str(dtype).removeprefix('torch.')}, torch {torch.__version__}\n")
    print("| images, heads, tokens | iterations | form | ms | ratio | largest difference |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for shape in ON_GPU if on_gpu else ON_CPU:
        images, heads, tokens = shape
        logits = torch.randn(images, heads, tokens, tokens, device=device)
        weights = (2 * logits).softmax(dim=-1).to(dtype)
        alive = (torch.arange(tokens, device=device) % 7 != 6).expand(images, -1)
        for number in ITERATIONS:
            exact = each_step(weights[:1].double(), alive[:1], number)
            times: dict[str, list[float]] = {form: [] for form in forms}
            for _ in range(rounds + 1):  # the first warms up
                for form, function in forms.items():
                    times[form].append(seconds(function, weights, alive, number))
            for form, function in forms.items():
                ratios = [a / b for a, b in zip(times[form], times["each step"], strict=True)][1:]
                off = (function(weights[:1], alive[:1], number) - exact).abs().max()
                cells = f"{1000 * median(times[form][1:]):.2f} | {median(ratios):.2f} | {off:.0e}"
                print(f"| {images}, {heads}, {tokens} | {number} | {form} | {cells} |", flush=True)


if __name__ == "__main__":
    with torch.no_grad():
        main()
