"""The one loop every run goes through: images in, per-image rows and metrics out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import lightning
import polars as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..engine import RowBatch, RowSink, RunError
from ..errors import KeeprateError
from ..reduction.reduced_model import ReducedModel
from ..request import LoopOptions
from .distributed import gathered
from .lightning_loop import Pass, PassLoop, Stopped
from .rows import RunRows, outcome_of


def run_pass(work: Pass, options: LoopOptions, sink: RowSink) -> bool:
    """Take the runs of a pass over its samples, each exactly once, and hand in what they give.

    Returns whether the pass came to its end; False where it was stopped, or no run was left.
    Raises KeeprateError for an accelerator there is not, SampleError for a sample that cannot be
    read.
    """
    loop = PassLoop(work, options, sink)
    with _quiet():
        trainer = _trainer(options)
        try:
            trainer.test(loop, verbose=False)
        except Stopped:
            return False
    return True


def evaluate(
    model: ReducedModel,
    samples: ImageSamples | TextSamples,
    reference: Tensor | None,
    options: LoopOptions,
) -> RunRows:
    """Run one model over `samples`, each exactly once, and judge it.

    `reference` are the unpruned model's logits (N, K) in the order of `samples`, None where `model`
    itself is the unpruned one; only then the outcome has logits. Of several processes each returns
    the whole outcome. Raises KeeprateError if the model gives logits that are not finite.
    """
    found: list[RowBatch] = []
    failed: dict[str, RunError] = {}
    name = model.method.name
    given = None if reference is None else reference.numpy()
    unpruned = name if reference is None else None
    work = Pass({name: model}, samples, range(len(samples)), unpruned, given)
    run_pass(work, options, _private_desk(found, failed))
    row_batches = [row_batch for part in gathered(found) for row_batch in part]
    if failed:
        raise KeeprateError(failed[name].error)
    logits = [each.logits for each in row_batches if each.logits is not None]
    rows = pl.concat([each.rows for each in row_batches])
    return outcome_of(rows, samples, pl.concat(logits) if logits else None)


def _private_desk(found: list[RowBatch], failed: dict[str, RunError]) -> RowSink:
    return RowSink(
        take=found.append,
        fail=failed.__setitem__,
        note=lambda names, text: None,
        listen=lambda event: None,
        stopping=lambda: False,
    )


def _trainer(options: LoopOptions) -> lightning.Trainer:
    try:
        return lightning.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            precision=options.precision,  # type: ignore[arg-type]
            enable_progress_bar=False,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except MisconfigurationException as error:
        asked = f"accelerator '{options.accelerator}' with {options.devices} device(s)"
        raise KeeprateError(f"There is no {asked} here: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Lightning's advice about hardware and worker numbers off the screen."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", message=".*isinstance.*LeafSpec.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
