"""The loop that every run goes through: it takes images, and gives per-image rows and metrics."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor

from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..engine import Reply, RowSink, Task
from ..errors import KeeprateError
from ..reduction.reduced_model import ReducedModel
from ..request import LoopOptions
from .distributed import gathered
from .lightning_loop import Logits, Pass, PassLoop, Stopped

if TYPE_CHECKING:
    from ..study.comparison import Comparison
    from .rows import RunRows


def pass_of(comparison: Comparison, task: Task, reference: Logits | None) -> Pass:
    """Return the pass that computes a task; `reference` are the unpruned model's logits."""
    models = {job.id: job.model for job in comparison.jobs if job.id in task.ids}
    unpruned, samples = comparison.unpruned.id, comparison.samples
    if isinstance(samples, ImageSamples):  # at no size that these runs do not see
        samples = samples.at({model.backbone.image_size for model in models.values()})
    if unpruned in models:
        return Pass(models, samples, task.positions, unpruned=unpruned)
    return Pass(models, samples, task.positions, reference=reference)


def run_pass(work: Pass, options: LoopOptions, sink: RowSink) -> bool:
    """Compute the runs of a pass on each of its samples exactly once, and hand in the rows.

    Returns True if the pass came to its end, False if it was stopped or every run had failed.
    Raises KeeprateError for an accelerator that this machine does not have, SampleError for a
    sample that cannot be read.
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
    """Run one model on each of `samples` exactly once, and judge it.

    `reference` are the unpruned model's logits (N, K) in the order of `samples`. It is None where
    `model` itself is the unpruned one; only then the outcome has logits. Each of several processes
    returns the whole outcome. Raises KeeprateError if the model gives logits that are not finite.
    """
    import polars as pl

    from .rows import outcome_of

    own, name = Reply(), model.method.name
    reference_logits = None if reference is None else reference.numpy()
    unpruned = name if reference is None else None
    work = Pass({name: model}, samples, range(len(samples)), unpruned, reference_logits)
    run_pass(work, options, own.collect())
    row_batches = [batch for batches in gathered(own.row_batches) for batch in batches]
    if own.failed:
        raise KeeprateError(own.failed[name].error)
    logits = [batch.logits for batch in row_batches if batch.logits is not None]
    rows = pl.concat([batch.rows for batch in row_batches])
    return outcome_of(rows, samples, pl.concat(logits) if logits else None)


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
            use_distributed_sampler=False,  # it would repeat samples to give each process as many
        )
    except MisconfigurationException as error:
        hardware = f"accelerator '{options.accelerator}' with {options.devices} device(s)"
        raise KeeprateError(f"There is no {hardware} here: {error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide Lightning's advice about hardware and worker numbers."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            # PyTorch warns of a call that Lightning makes
            warnings.filterwarnings("ignore", message=".*isinstance.*LeafSpec.*")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
