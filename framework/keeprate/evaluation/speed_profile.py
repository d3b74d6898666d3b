"""Where the time of a forward pass goes: into the backbone, into scoring, into reducing tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile, record_function

from ..backbone import Inputs
from ..method import Method
from ..reduction.reduced_model import ReducedModel
from .timing import Treatment

_PASS: Final = "keeprate: forward pass"
_SCORING: Final = "keeprate: scoring"
_REDUCING: Final = "keeprate: reducing"
_VERBS: Final = {
    "prepare": _SCORING,
    "observe": _SCORING,
    "reweigh": _SCORING,
    "key_weights": _SCORING,
    "score": _SCORING,
    "reduce": _REDUCING,
}


@dataclass(frozen=True)
class TimeShares:
    """Shares of the time of a forward pass, which sum to 1; on a GPU, of the time of its kernels.

    `scoring` is the method's `score`, and what it prepares, observes and reweighs for it;
    `reducing` its `reduce`; `backbone` everything else: the model's own blocks, attention matrices
    that are computed for the method, and checks.
    """

    backbone: float
    scoring: float
    reducing: float


def time_shares(reduced: ReducedModel, treatment: Treatment, passes: int = 3) -> TimeShares:
    """Return where a reduced model's time goes, by torch's profiler, over a few forward passes.

    The model is run as it is, neither compiled nor as a graph. What the profiler itself takes for
    every operation is in the shares.
    """
    treatment.place([reduced])
    inputs, device = reduced.backbone.example(treatment.batch_size), treatment.device
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]
    with torch.inference_mode(), treatment.autocast(), _marked(reduced.method):
        reduced(inputs)  # warms up
        with profile(activities=activities) as seen:
            for _ in range(passes):
                _run(reduced, inputs)
            if on_gpu:
                torch.cuda.synchronize(device)
    total, own = _seconds(seen.events() or [], on_gpu)
    scoring, reducing = own[_SCORING] / total, own[_REDUCING] / total
    return TimeShares(1 - scoring - reducing, scoring, reducing)


def _run(reduced: ReducedModel, inputs: Inputs) -> None:
    with record_function(_PASS):
        reduced(inputs)


@contextmanager
def _marked(method: Method) -> Iterator[None]:
    """Let the profiler see when the verbs of a method run."""
    names = [verb for verb in _VERBS if getattr(type(method), verb) is not getattr(Method, verb)]
    names = [*{*names, "reduce"}]
    for name in names:
        # an attribute of the instance hides the class's function, and is gone afterwards
        vars(method)[name] = _recorded(getattr(method, name), _VERBS[name])
    try:
        yield
    finally:
        for name in names:
            del vars(method)[name]


def _recorded(verb: Callable[..., Any], label: str) -> Callable[..., Any]:
    def run(*arguments: Any) -> Any:
        with record_function(label):
            return verb(*arguments)

    return run


def _seconds(events: list[FunctionEvent], on_gpu: bool) -> tuple[float, dict[str, float]]:
    """Return the time of all passes, and that of each label without the labels inside it."""

    def spent(event: FunctionEvent) -> float:
        return float(event.device_time_total if on_gpu else event.cpu_time_total)

    total, own = 0.0, {_SCORING: 0.0, _REDUCING: 0.0}
    for event in events:
        # a GPU has a line of its own with the same labels
        if event.device_type.name != "CPU":
            continue
        if event.name == _PASS:
            total += spent(event)
        if event.name in own:
            own[event.name] += spent(event)
            around = _around(event)
            if around is not None:
                own[around] -= spent(event)
    return total, own


def _around(event: FunctionEvent) -> str | None:
    """Return the label that an event lies in, None if it lies in none."""
    parent = event.cpu_parent
    while parent is not None and parent.name not in (_SCORING, _REDUCING):
        parent = parent.cpu_parent
    return None if parent is None else str(parent.name)
