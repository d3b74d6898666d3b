"""A part of gpu.py: what part of its time is the device busy while the loop runs?"""

from __future__ import annotations

import io
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from gpu_bench import FIRST, Bench
from PIL import Image
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from keeprate import DataSet, Sample
from keeprate.backbones.loading.load import load_model
from keeprate.backbones.lookup import adapt
from keeprate.data.preprocessing import preparation
from keeprate.engine import RowSink
from keeprate.evaluation import passes
from keeprate.evaluation.lightning_loop import Pass, PassLoop
from keeprate.evaluation.speed import reduced_by
from keeprate.plugins.registry import registry
from keeprate.request import LoopOptions


class Noise(DataSet):
    """One JPEG of 500 x 375 pixels, decoded again for every sample."""

    name = "noise"

    def __init__(self, images: int) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).resize((250, 188)).resize((500, 375)).save(buffer, "JPEG")
        self.images, self.jpeg = images, buffer.getvalue()

    def samples(self) -> list[Sample]:
        """Return as many samples as were asked for."""
        return [Sample(str(number), number % 1000) for number in range(self.images)]

    def image(self, index: int) -> Tensor:
        """Decode the file."""
        return torch.from_numpy(np.array(Image.open(io.BytesIO(self.jpeg)))).permute(2, 0, 1)

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        """Fit any head."""


class TimedLoop(PassLoop):
    """The loop with a clock; its rows are dropped, since tables need a library that may lack."""

    inside = 0.0
    """Seconds in which a batch was computed."""

    def test_step(self, batch: Sequence[Any], batch_index: int) -> None:
        """Compute a batch and note how long that took."""
        began = time.perf_counter()
        super().test_step(batch, batch_index)
        type(self).inside += time.perf_counter() - began

    def _hand_in(self) -> None:
        self._rows.clear()
        self._logits.clear()


def loop(bench: Bench, name: str) -> None:
    """Run the loop on JPEGs and tell what part of its time the device is busy."""
    model = "deit_small_patch16_224" if bench.on_gpu else "vit_tiny_patch16_224:depth=4"
    loaded = load_model(model, pretrained=False)
    backbone = adapt(loaded.model.eval())
    data = Noise(4096 if bench.on_gpu else 16)
    samples = preparation(loaded, backbone, data).prepare(range(data.images)).samples
    full = reduced_by(backbone, registry().method("full")(), None, None)
    models = {
        "full": full,
        **bench.models(backbone, bench.budget(3.05), FIRST if bench.on_gpu else FIRST[:1]),
    }
    options = LoopOptions(
        batch_size=256 if bench.on_gpu else 8,
        workers=14 if bench.on_gpu else 0,
        precision="bf16-true" if bench.on_gpu else "32-true",
        accelerator=bench.asked.device,
    )
    sink = RowSink(lambda rows: None, lambda run, error: print(f"- {run}: {error.error}"), print)
    passes.PassLoop, TimedLoop.inside = TimedLoop, 0.0  # type: ignore[misc]
    began = time.perf_counter()
    watched = profile(activities=[ProfilerActivity.CUDA]) if bench.on_gpu else nullcontext()
    work = Pass(models, samples, range(data.images), unpruned="full")
    with watched as seen:
        passes.run_pass(work, options, sink)
    seconds = time.perf_counter() - began
    busy = None if seen is None else covered(seen.events() or [])
    cells = [str(len(models)), str(data.images), f"{seconds:.2f}"]
    cells += [f"{data.images / seconds:.0f}", f"{TimedLoop.inside / seconds:.1%}"]
    cells.append("" if busy is None else f"{busy / seconds:.1%}")
    headings = ["runs", "images", "seconds", "images/s", "computing a batch", "device busy"]
    with bench.table(name, headings) as rows:
        rows.append(cells)


def covered(events: Iterable[Any]) -> float:
    """Return the seconds in which at least one kernel ran."""
    on_device = [event for event in events if event.device_type == torch.autograd.DeviceType.CUDA]
    spans = sorted((event.time_range.start, event.time_range.end) for event in on_device)
    total, until = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total / 1e6
