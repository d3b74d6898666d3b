"""Parts of gpu.py: is every method right on the device, and how often is the device waited for?"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from gpu_bench import Bench, one_line
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from keeprate.backbone import Backbone
from keeprate.evaluation.speed import reduced_by
from keeprate.plugins.registry import registry

WAITS = frozenset(("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "_unique2"))
NO_KERNEL = ("empty", "detach", "_unsafe_view", "lift", "_local_scalar_dense")


def sharp(bench: Bench, dtype: torch.dtype, device: torch.device) -> Backbone:
    """Return a DeiT-S with random weights whose attention tells tokens apart, as a trained one's.

    With timm's own values all scores are nearly the same, and rounding decides what is kept.
    """
    torch.manual_seed(0)
    backbone = bench.backbone("deit_small_patch16_224")
    with torch.no_grad():
        for name, parameter in backbone.model.named_parameters():
            if "qkv.weight" in name:
                parameter.mul_(3)
    backbone.model.to(device=device, dtype=dtype)
    return backbone


def correctness(bench: Bench, name: str) -> None:
    """Compare every method on the device with itself on the CPU in float64."""
    torch.backends.cudnn.allow_tf32 = False  # float32 is to be float32
    exact = sharp(bench, torch.float64, torch.device("cpu"))
    images = exact.example(8 if bench.on_gpu else 2)
    others = {
        str(dtype)[6:]: sharp(bench, dtype, bench.device)
        for dtype in (torch.float32, torch.bfloat16)
    }
    headings = ["method"]
    headings += [f"{dtype}: {what}" for dtype in others for what in ("logits", "first", "last")]
    with bench.table(name, headings) as rows:
        for method in ["full", *bench.methods]:
            row = [method]
            try:
                want = traced(exact, method, images)
                for backbone in others.values():
                    row += compared(want, traced(backbone, method, images))
            except Exception as error:
                row = [method, one_line(error)]
            rows.append(row)
    print(
        "\nlogits: the largest difference, of the largest logit. first, last: of the pairs of "
        "patches that share a token after the first and the last stage, a patch with itself "
        "among them, the share that is the same."
    )


Traced = tuple[Tensor, list[Tensor]]


def traced(backbone: Backbone, name: str, images: Tensor) -> Traced:
    """Return the logits and the owners of patches after each stage, on the CPU in float64."""
    method = registry().method(name)()
    # a budget that is solved on images is met by another schedule in every precision
    fixed = method.keeps_per_image
    budget = "65%" if method.reduces and not fixed else None
    reduced = reduced_by(backbone, method, "keep=0.7" if fixed else None, budget)
    reduced.trace = True
    with torch.inference_mode():
        logits = reduced(images.to(next(backbone.model.parameters())))
    return logits.double().cpu(), [stage.owner.cpu() for stage in reduced.survivors]


def compared(want: Traced, got: Traced) -> list[str]:
    """Return the cells of a comparison."""
    difference = (want[0] - got[0]).abs().max() / want[0].abs().max()
    pairs = list(zip(want[1], got[1], strict=True))
    shares = [f"{same(*pairs[place]):.4f}" for place in (0, -1)] if pairs else ["", ""]
    return [f"{float(difference):.1e}", *shares]


def same(want: Tensor, got: Tensor) -> float:
    """Return the share of pairs of patches (B, P, P) that share a token in both, of either's."""
    together = [(o[:, :, None] == o[:, None]) & (o >= 0)[:, None] for o in (want, got)]
    return float((together[0] & together[1]).sum() / (together[0] | together[1]).sum())


class Operators(TorchDispatchMode):
    """Counts the operators that compute something, and those that a GPU must be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels, self.waits = 0, Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.kernels += not func.is_view and not name.startswith(NO_KERNEL)
        self.waits.update([name] if name in WAITS else [])
        return func(*args, **(kwargs or {}))


def waits(bench: Bench, name: str) -> None:
    """Count the operators, kernels and waits of one forward pass of every method."""
    backbone = bench.backbone("deit_small_patch16_224")
    models = bench.models(backbone, bench.budget(3.05), bench.methods)
    for each in (backbone, *(model.backbone for model in models.values())):
        each.model.to(device=bench.device, dtype=torch.bfloat16)
    inputs = backbone.example(64 if bench.on_gpu else 2)
    headings = ["method", "operators", "kernels launched", "waits by operator", "waits told", "at"]
    runs: dict[str, Callable[[Any], object]] = {"unpruned": backbone.plain, **models}
    with bench.table(name, headings) as rows:
        for key, run in runs.items():
            try:
                rows.append([key, *counts(bench, partial(run, inputs))])
            except Exception as error:
                rows.append([key, one_line(error)])


def counts(bench: Bench, run: Callable[[], object]) -> list[str]:
    """Return the cells of a row: operators and waits by dispatch, and what the driver tells."""
    with torch.inference_mode():
        run()
        with Operators() as seen:
            run()
        cells = [str(seen.kernels), "", str(seen.waits.total()), "", ""]
        if bench.on_gpu:
            with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
                run()
                torch.cuda.synchronize()
            events = profiled.key_averages()
            launched = sum(event.count for event in events if "LaunchKernel" in event.key)
            cells[1] = str(launched)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    run()
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            places = Counter(
                f"{Path(one.filename).name}:{one.lineno}"
                for one in told
                if "synchroniz" in str(one.message)
            )
            cells[3:] = [str(places.total()), ", ".join(dict(places.most_common(3)))]
    return cells
