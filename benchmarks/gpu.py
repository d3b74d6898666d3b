"""Everything to be known of keeprate on a GPU, the most important first, within a given time.

    python -m pip wheel --no-deps --wheel-dir wheel .                    (where the project is)
    python -m pip install --no-deps --target site wheel/keeprate-*.whl   (where the GPU is)
    PYTHONPATH=site python gpu.py [--seconds 330] [--output gpu.json]

The second machine needs torch, timm, pluggy, lightning, torchmetrics and click, and nothing is
fetched: take the files gpu*.py and the wheel there. Weights are random. Correctness, waits,
launches, speed with peak memory, the page rank alone and the loop are printed as Markdown, each
when it is done, and written as JSON, so that a run that is cut short has told what it found. A
method that fails is a row with its error. `--device cpu --seconds 60` tries the same, small.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from gpu_bench import FIRST, Bench
from gpu_checks import correctness, waits
from gpu_loop import loop

from keeprate._devices import device_name
from keeprate.cli.speed_tables import record, shares_table, table, title
from keeprate.evaluation.speed import measure_speed
from keeprate.evaluation.speed_profile import time_shares
from keeprate.evaluation.timing import Contender, Rounds, Treatment, fill_turns, in_turns

PRECISION = ("32-true", "bf16-true")
"""On the CPU, many of which have no fast bfloat16, and on a GPU."""


def speed(
    bench: Bench,
    name: str,
    model: str,
    methods: Sequence[str],
    treatment: Treatment,
    seconds: float,
) -> None:
    """Time methods in turns with the unpruned model, all treated alike."""
    backbone = bench.backbone(model)
    budget = 3.05 if model.startswith("deit_small") else "65%"
    models = bench.models(backbone, bench.budget(budget), methods)
    found = measure_speed(models, treatment, Rounds(6, 200, seconds))
    bench.found[name] = record(found, treatment)
    shown = model if bench.on_gpu else "a small model"
    print("\n".join([title(shown, treatment, found), "", *table(found)]), flush=True)


def shares(bench: Bench, name: str) -> None:
    """Tell where the time of the first methods goes."""
    backbone = bench.backbone("deit_small_patch16_224")
    models = bench.models(backbone, bench.budget(3.05), bench.methods[: 8 if bench.on_gpu else 2])
    treatment = Treatment(PRECISION[bench.on_gpu], bench.asked.device, 256 if bench.on_gpu else 2)
    found = {method: time_shares(model, treatment) for method, model in models.items()}
    bench.found[name] = {method: vars(share) for method, share in found.items()}
    print("\n".join(shares_table(found)))


def page_ranks(bench: Bench, name: str) -> None:
    """Time the page rank alone, beside one reading of the matrices that it walks on.

    What it gives is compared with products in float64.
    """
    from keeprate_methods.page_rank import by_products, page_rank

    batch = 256 if bench.on_gpu else 4
    treatment = Treatment("32-true", bench.asked.device, batch)
    walks: dict[str, Callable[[Any], Any]] = {
        f"{n} iterations": partial(page_rank, iterations=n) for n in (50, 30, 5, 1)
    }
    walks["50 by products"] = lambda weights: by_products(weights, 50, "none", None, True, None)
    headings = ["page rank", "type", f"ms, {batch} x 6 heads x 197", "difference, relative"]
    with bench.table(name, headings) as rows:
        for dtype in (torch.bfloat16, torch.float32):
            logits = torch.randn(batch, 6, 197, 197, device=bench.device, dtype=dtype)
            weights = (2 * logits).softmax(dim=-1)
            runs = {**walks, "sum of the matrix": torch.sum}
            contenders = [Contender(run, weights, treatment) for run in runs.values()]
            fill_turns(contenders, batch)
            timers = [one.seconds for one in contenders]
            seconds = zip(*in_turns(timers, Rounds(5, 50, 2.0)), strict=True)
            for (key, run), column in zip(runs.items(), seconds, strict=True):
                want = run(weights[:4].double())
                difference = ((run(weights[:4]) - want).abs() / want).max()
                time = f"{1000 * statistics.median(column):.4f}"
                rows.append([key, str(dtype)[6:], time, f"{float(difference):.1e}"])


def main() -> None:
    """Read the options and run the parts, the most important first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=330)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="Default: all.")
    bench = Bench(parser.parse_args())
    print(f"# {device_name(bench.device)}, torch {torch.__version__}, timm {timm.__version__}")
    done = set[str]()
    for name, seconds, run in parts(bench):
        if name not in done:  # on the CPU several are the same
            bench.part(name, seconds, run)
        done.add(name)


Part = tuple[str, float, Callable[[str], None]]


def parts(bench: Bench) -> Iterator[Part]:
    """Yield name, seconds and function of every part, the most important first."""
    yield "Correctness", 60, partial(correctness, bench)
    yield "Waits and launches", 45, partial(waits, bench)
    small, base, large = "deit_small_patch16_224", "vit_base_patch16_224", "vit_large_patch16_384"
    some, every = bench.methods[: len(FIRST)], bench.methods
    yield speed_part(bench, small, every, 256, seconds=12)
    yield "Page rank", 10, partial(page_ranks, bench)
    yield speed_part(bench, small, every, 1, seconds=6)
    yield "The loop", 40, partial(loop, bench)
    yield speed_part(bench, base, some, 256)
    yield speed_part(bench, large, some, 64)
    yield speed_part(bench, small, some, 256, precision="32-true")
    yield "Shares of time", 15, partial(shares, bench)
    yield speed_part(bench, small, every, 64, seconds=8)
    if bench.on_gpu:
        for batch_size in (256, 1):
            yield speed_part(bench, small, some, batch_size, graphed=True)
        for method in some[:3]:
            yield speed_part(bench, small, [method], 256, compiled=True)
    yield speed_part(bench, small, every, 16, seconds=8)
    for batch_size in (64, 16, 1):
        yield speed_part(bench, base, some, batch_size)
        yield speed_part(bench, large, some, batch_size)


def speed_part(
    bench: Bench,
    model: str,
    methods: Sequence[str],
    batch_size: int,
    *,
    seconds: float = 4,
    precision: str | None = None,
    **how: bool,
) -> Part:
    """Return the part that times methods on a model; building them may take as long again."""
    precision = precision or PRECISION[bench.on_gpu]
    batch_size = batch_size if bench.on_gpu else min(batch_size, 2)
    treatment = Treatment(precision, bench.asked.device, batch_size, **how)
    name = ", ".join(["Speed", model if bench.on_gpu else "a small model", precision])
    name = ", ".join([name, f"batch {batch_size}", *how, *methods * treatment.compiled])
    run = partial(speed, bench, model=model, methods=methods, treatment=treatment, seconds=seconds)
    return name, 60 if treatment.compiled else 20 + 3 * seconds, run


if __name__ == "__main__":
    main()
