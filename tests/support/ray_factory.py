"""Comparisons for the tests of Ray, and the rows an engine finds for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from keeprate.engine import Engine, RowBatch, RowSink, RunError
from keeprate.evaluation.events import Event
from keeprate.evaluation.row_counter import RowCounter
from keeprate.evaluation.tasks import LocalTask
from keeprate.plugins import registry as plugins
from keeprate.plugins.registry import load
from keeprate.request import Cost, DataSpec, LoopOptions, ModelSpec, Options, Request, RunSpec
from keeprate.study.build import prepare
from keeprate.study.comparison import Comparison

IMAGES, BATCH = 60, 8

PLUGIN = '''
import time
from pathlib import Path

from keeprate import Method, hookimpl


class Watched(Method):
    """Leaves a mark of the machine it is on, and hangs where it is told to."""

    name = "watched"

    def __init__(self, marks: str) -> None:  # of a Path the content would count
        self.marks = marks

    def score(self, tokens, attention, stage):
        import ray

        if ray.is_initialized():
            here = ray.get_runtime_context().get_node_id()
            (Path(self.marks) / here).touch()
            while (Path(self.marks) / f"hang-{here}").exists():
                time.sleep(0.05)
        return tokens.x.norm(dim=-1)


class Fragile(Method):
    """Raises at one of the images."""

    name = "fragile"

    def score(self, tokens, attention, stage):
        if 400 in tokens.image:
            raise ValueError("not this one")
        return tokens.x.norm(dim=-1)


class Deadly(Method):
    """Ends the process it is in."""

    name = "deadly"

    def score(self, tokens, attention, stage):
        import os

        os._exit(9)


@hookimpl
def keeprate_methods():
    return [Watched, Fragile, Deadly]
'''


@contextmanager
def plugin(folder: Path) -> Iterator[Path]:
    """Offer the methods `watched`, `fragile` and `deadly` beside those that ship."""
    path = folder / "watching.py"
    path.write_text(PLUGIN)
    before = list(plugins._active)
    plugins.activate(load([path], strict=True, environ={"KEEPRATE_PLUGINS": ""}))
    yield path
    plugins._active[:] = before


def request(*methods: str | RunSpec) -> Request:
    """Ask for methods at half their patches, on some of the digits."""
    cost = Cost("keep=0.5@3")
    runs = [each if isinstance(each, RunSpec) else RunSpec(each, {}, cost) for each in methods]
    loop = LoopOptions(batch_size=BATCH, accelerator="cpu")
    options = Options(loop=loop, limit=IMAGES, throughput=False)
    return Request(ModelSpec(), DataSpec("digits"), tuple(runs), options)


def watched(marks: Path) -> RunSpec:
    return RunSpec("watched", {"marks": str(marks)}, Cost("keep=0.5@3"))


@dataclass
class Received:
    """What was handed in; `stop_after` so many segments the desk is stopping."""

    stop_after: int | None = None
    row_batches: list[RowBatch] = field(default_factory=list)
    failed: dict[str, RunError] = field(default_factory=dict)
    notes: list[tuple[Sequence[str], str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def sink(self) -> RowSink:
        return RowSink(
            take=self.row_batches.append,
            fail=self.failed.__setitem__,
            note=lambda names, text: self.notes.append((names, text)),
            listen=self.events.append,
            stopping=lambda: len(self.row_batches) >= (self.stop_after or float("inf")),
            advance=RowCounter(self.events.append),
        )

    def rows(self) -> pl.DataFrame:
        """All rows as they came, but for the time they took, in the order of runs and images."""
        rows = pl.concat([each.rows for each in self.row_batches])
        return rows.drop("seconds").sort("run", "place")

    def logits(self) -> pl.DataFrame:
        found = [each.logits for each in self.row_batches if each.logits is not None]
        return pl.concat(found).sort("place")


def ids_of(comparison: Comparison, *methods: str) -> tuple[str, ...]:
    return tuple(job.id for job in comparison.jobs if job.info.method in methods)


def task_of(
    comparison: Comparison, ids: Sequence[str] | None = None, images: int = IMAGES
) -> LocalTask:
    """A task for these runs of a comparison, or for all of them, on its first images."""
    names = tuple(ids or [job.id for job in comparison.jobs])
    return LocalTask(names, range(images), comparison.options.loop, comparison=comparison)


def passed(engine: Engine, asked: Request) -> Received:
    """Run everything asked for in two passes: the unpruned run with the first of the others, then
    each of the rest as a task of its own, all at once.
    """
    comparison, received = prepare(asked), Received()
    ids = [job.id for job in comparison.jobs]
    engine.run([task_of(comparison, ids[:2])], received.sink())
    comparison.reference = received.logits()["logits"].to_numpy()
    rest = [task_of(comparison, [name]) for name in ids[2:]]
    if rest:
        engine.run(rest, received.sink())
    return received
