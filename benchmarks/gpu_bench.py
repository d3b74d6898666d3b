"""The options of gpu.py, the time that is left, and what was found so far."""

from __future__ import annotations

import argparse
import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import timm
import torch

from keeprate.backbone import Backbone
from keeprate.backbones.lookup import adapt
from keeprate.cli.speed_tables import aligned
from keeprate.evaluation.speed import reduced_by
from keeprate.plugins.registry import registry
from keeprate.reduction.reduced_model import ReducedModel

FIRST = ("zero-tprune", "tome", "attention-score", "class-attention", "random")
"""Methods that come first, and alone where time is short."""


class OutOfTime(BaseException):
    """The time of a part is over; no method's error, so that no row takes it for one."""


class Bench:
    """The options, the time that is left, and what was found so far."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked, self.started = asked, time.monotonic()
        self.device = torch.device(asked.device)
        self.on_gpu = self.device.type == "cuda"
        self.found: dict[str, Any] = {}

    def backbone(self, name: str) -> Backbone:
        """Return a model with random weights; on the CPU, in place of any, a very small one."""
        small: dict[str, object] = {} if self.on_gpu else {"depth": 4, "img_size": 96}
        name = name if self.on_gpu else "vit_tiny_patch16_224"
        return adapt(timm.create_model(name, **small).eval())

    def budget(self, gmacs: str | float) -> str | float:
        """Return the budget for a model, which for the small one is a share."""
        return gmacs if self.on_gpu else "65%"

    @property
    def left(self) -> float:
        """The seconds that are left."""
        return float(self.asked.seconds) - (time.monotonic() - self.started)

    @cached_property
    def methods(self) -> list[str]:
        """All methods that run without trained weights, the first ones first."""
        if self.asked.methods:
            return list(self.asked.methods)
        classes = {name: offer.cls for name, offer in registry().methods.items()}
        usable = [n for n, cls in classes.items() if cls.reduces and not cls.requires_weights]
        return [*FIRST, *(name for name in usable if name not in FIRST)]

    def part(self, name: str, seconds: float, run: Callable[[str], None]) -> None:
        """Run one part within its time, if there is any left; print what keeps it from ending."""
        limit = min(seconds, self.left)
        if limit < 0.1 * seconds:
            print(f"\nNo time is left for: {name}.", flush=True)
            return
        print(f"\n## {name}\n", flush=True)
        began = time.monotonic()
        try:
            with alarm(limit):
                run(name)
        except OutOfTime:
            print(f"\nNot done within {limit:.0f} s.")
        except Exception as error:
            print(f"\nFailed: {one_line(error)}")
        print(f"\n({time.monotonic() - began:.0f} s, {self.left:.0f} s left)", flush=True)
        self.asked.output.write_text(json.dumps(self.found, indent=1))

    @contextmanager
    def table(self, name: str, headings: Sequence[str]) -> Iterator[list[list[str]]]:
        """Give a list for the rows of a table; print and keep them, also if the time is over."""
        rows: list[list[str]] = []
        try:
            yield rows
        finally:
            filled = [[*row, *[""] * (len(headings) - len(row))] for row in rows]
            self.found[name] = [dict(zip(headings, row, strict=True)) for row in filled]
            print("\n".join(aligned([headings, *filled])), flush=True)

    def models(
        self, backbone: Backbone, budget: str | float, names: Iterable[str]
    ) -> dict[str, ReducedModel]:
        """Return the reduced models that share a backbone; print why a method is not among them."""
        models = {}
        for name in names:
            try:
                models[name] = reduced_by(backbone, registry().method(name)(), None, budget)
            except Exception as error:
                print(f"- {name} is left out: {one_line(error)}", flush=True)
        return models


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise OutOfTime once the time is over."""

    def ring(*_: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def one_line(error: BaseException) -> str:
    """Return an error as a text that fits into a table."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".replace("|", "/")[:100]
