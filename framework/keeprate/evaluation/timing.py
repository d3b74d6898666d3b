"""Times models in turns: warmed up, treated alike, and by the device's own clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import ceil
from typing import Final, TypeAlias

import torch
from torch import nn

from .._devices import device_of
from ..backbone import Inputs

DTYPES = {"32": torch.float32, "64": torch.float64, "16": torch.float16, "bf16": torch.bfloat16}
_SETTLED: Final = 0.9
"""A round that takes less than this share of the one before it shows that times still fall."""
_MOST_WARM_UPS: Final = 5
"""On a machine whose times never settle, rounds count after so many."""
_TURN_SECONDS: Final = 0.05
"""A turn on a GPU takes about as long: many short batches, so that it never runs out of work."""

Watcher: TypeAlias = Callable[[int, float], bool]
"""Told before each turn whose it is (0: the plain model's) and what share of the time is over;
returns whether to go on."""


@dataclass(frozen=True)
class Treatment:
    """How models are run: what is compared is treated alike.

    `precision` and `accelerator` are as in Lightning. `compiled` models are compiled by
    `torch.compile`, of `graphed` ones a CUDA graph is captured, which is then replayed.
    """

    precision: str = "32-true"
    accelerator: str = "auto"
    batch_size: int = 64
    compiled: bool = False
    graphed: bool = False

    @property
    def device(self) -> torch.device:
        """The device that the models run on."""
        return device_of(self.accelerator)

    @property
    def weights_dtype(self) -> torch.dtype:
        """The type of the weights; mixed precision leaves them in float32."""
        kind, _, mode = self.precision.partition("-")
        return torch.float32 if mode == "mixed" else DTYPES[kind]

    def place(self, models: Iterable[nn.Module]) -> None:
        """Put models where they run, in eval mode, in the type of the weights."""
        for model in models:
            model.eval().to(device=self.device, dtype=self.weights_dtype)

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which models run: with mixed precision, that of autocast."""
        kind, _, mode = self.precision.partition("-")
        return torch.autocast(self.device.type, DTYPES[kind]) if mode == "mixed" else nullcontext()


@dataclass(frozen=True)
class Rounds:
    """How many rounds count: at least `least`, then as many up to `most` as fit into `seconds`."""

    least: int = 3
    most: int = 12
    seconds: float = 30.0


class Contender:
    """A model and its inputs, ready to be timed; the constructor compiles or captures it.

    `peak_bytes` is the most memory that a forward pass took on a GPU beside weights and inputs;
    None elsewhere. Raises whatever the model raises.
    """

    def __init__(
        self, model: Callable[[Inputs], object], inputs: Inputs, treatment: Treatment
    ) -> None:
        self.device, self.repeats = treatment.device, 1
        self._autocast = treatment.autocast()
        run = torch.compile(model, dynamic=False) if treatment.compiled else model
        self._call: Callable[[], object] = lambda: run(inputs)
        if treatment.compiled:
            self._compile()
        self.peak_bytes = self._peak() if self.device.type == "cuda" else None
        if treatment.graphed:
            self._call = self._captured(self._call)

    def seconds(self) -> float:
        """Return the seconds of a batch: the mean over `repeats`, one after the other."""
        with torch.inference_mode(), self._autocast:
            return _clocked(self._call, self.device, self.repeats)

    def _compile(self) -> None:
        """Compile in a first call; what is not compiled is an error, not slower in silence."""
        import torch._dynamo.config as config

        # every model of a measurement is one more version of the same functions
        limits = {"recompile_limit": 4096, "accumulated_recompile_limit": 65536}
        with config.patch(**limits, fail_on_recompile_limit_hit=True):
            for _ in range(3):  # what a first call leaves behind may compile once more
                self.seconds()

    def _peak(self) -> int:
        self.seconds()  # kernels are chosen and workspaces allocated in the first call
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        self.seconds()
        return torch.cuda.max_memory_allocated(self.device) - before

    def _captured(self, call: Callable[[], object]) -> Callable[[], object]:
        """Return what replays the kernels that a call launches, without launching them singly."""
        with torch.inference_mode(), self._autocast:
            aside = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
            aside.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(aside):
                call()
            torch.cuda.current_stream(self.device).wait_stream(aside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                call()
        return graph.replay


def fill_turns(contenders: Sequence[Contender], batch_size: int) -> None:
    """Let every turn on a GPU run as many batches as fill it, the same number for all.

    Single images are timed one by one: their time is a latency.
    """
    first = next(iter(contenders), None)
    if first is not None and first.device.type == "cuda" and batch_size > 1:
        first.seconds()
        repeats = max(1, ceil(_TURN_SECONDS / first.seconds()))
        for contender in contenders:
            contender.repeats = repeats


def in_turns(
    timers: Sequence[Callable[[], float]],
    rounds: Rounds,
    watch: Watcher = lambda turn, share: True,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Call timers in turns; return the seconds of each in every round that counts.

    Every other round goes backwards, so that a machine that slows down steadily favours none. The
    first round never counts, and none before one that was clearly faster. When `watch` ends it,
    the rounds so far are returned.
    """
    started, counted, before = clock(), list[list[float]](), 0.0
    number, settled = 0, False
    while len(counted) < rounds.most:
        spent = clock() - started
        if len(counted) >= rounds.least and spent + spent / number > rounds.seconds:
            break
        turns = range(len(timers))
        seconds = dict.fromkeys(turns, 0.0)
        for place, turn in enumerate(reversed(turns) if number % 2 else turns):
            over = number + place / len(timers)
            in_time = (clock() - started) / rounds.seconds if rounds.seconds else 1.0
            in_time = min(in_time, over / (rounds.least + 1), 1.0)
            if not watch(turn, min(max(in_time, over / (rounds.most + 1)), 1.0)):
                return counted
            seconds[turn] = timers[turn]()
        total = sum(seconds.values())
        if number > 1 and not settled:
            settled = total >= _SETTLED * before or number > _MOST_WARM_UPS
            if not settled:
                counted.clear()
        # the first calls choose kernels and allocate memory: round 0 is not counted
        if number:
            counted.append(list(seconds.values()))
        before, number = total, number + 1
    return counted


def _clocked(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the mean seconds of `repeats` calls in a row, the device's work included."""
    if device.type == "cuda":
        start, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()  # a GPU computes on after the calls have returned
        return float(start.elapsed_time(end)) / 1000 / repeats
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    if device.type == "mps":
        torch.mps.synchronize()
    return (time.perf_counter() - started) / repeats
