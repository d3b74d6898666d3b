"""The one loop every run goes through: images in, per-image rows and metrics out."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import lightning
import polars as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from .data import ImageSamples
from .errors import KeeprateError
from .metrics import PairedAccuracy, Predictions, judge
from .reduction import ReducedModel
from .results import ROW_SCHEMA
from .texts import TextSamples

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true")


@dataclass(frozen=True)
class LoopOptions:
    """How to run the loop: nothing here changes what a run means, `precision` excepted.

    `accelerator` and `devices` as in Lightning ("auto", "cpu", "gpu"; number or list of devices).
    """

    batch_size: int = 64
    workers: int = 0
    precision: str = "32-true"
    accelerator: str = "auto"
    devices: int | str = 1


@dataclass(frozen=True)
class Outcome:
    """What a run gave: per-image `rows` (columns of `ROW_SCHEMA`, in the order of the samples),
    means over all images (`overhead` in multiply-accumulates), logits (N, K) float32 in the same
    order, and the time it took.
    """

    rows: pl.DataFrame
    images: int
    top1: float
    top5: float
    agreement: float
    kl: float
    overhead: float
    logits: Tensor
    seconds: float


def evaluate(
    model: ReducedModel,
    samples: ImageSamples | TextSamples,
    reference: Tensor | None,
    options: LoopOptions,
    callbacks: Sequence[Callback] = (),
) -> Outcome:
    """Run `model` over `samples`, each image exactly once, and judge it.

    `reference` are the unpruned model's logits (N, K) in the order of `samples`, None where `model`
    itself is the unpruned one. Of several processes each returns the whole outcome. Raises
    KeeprateError if the model gives logits that are not finite.
    """
    loop = EvaluationLoop(model, samples, reference, options)
    with _quiet():
        trainer = _trainer(options, callbacks)
        started = time.perf_counter()
        trainer.test(loop, verbose=False)
    return loop.outcome(time.perf_counter() - started)


def _trainer(options: LoopOptions, callbacks: Sequence[Callback]) -> lightning.Trainer:
    try:
        return lightning.Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            precision=options.precision,  # type: ignore[arg-type]
            callbacks=list(callbacks),
            enable_progress_bar=any(_is_progress_bar(callback) for callback in callbacks),
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
    except MisconfigurationException as error:
        asked = f"accelerator '{options.accelerator}' with {options.devices} device(s)"
        raise KeeprateError(f"There is no {asked} here: {error}") from error


class EvaluationLoop(lightning.LightningModule):
    """Lightning's side of a run: each process judges every n-th image, the first gathers rows."""

    def __init__(
        self,
        model: ReducedModel,
        samples: ImageSamples | TextSamples,
        reference: Tensor | None,
        options: LoopOptions,
    ) -> None:
        super().__init__()
        self.model = model
        self.metric = PairedAccuracy()
        self.samples, self.reference, self.options = samples, reference, options
        indices = torch.tensor(samples.indices)
        self.place_of = torch.zeros(int(indices.max()) + 1, dtype=torch.int64)
        self.place_of[indices] = torch.arange(len(indices))
        self.batches: list[dict[str, Tensor]] = []
        self.means: dict[str, float] = {}

    def test_dataloader(self) -> DataLoader[Any]:
        """Return this process's share of the images: nothing repeated, nothing left out."""
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        places = range(rank, len(self.samples), processes)
        return DataLoader(
            Subset(self.samples, places),
            batch_size=self.options.batch_size,
            num_workers=self.options.workers,
            collate_fn=self.samples.collate,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )

    def test_step(self, batch: Sequence[Any], batch_index: int) -> None:
        """Judge one batch and keep its rows on the CPU."""
        inputs, labels, index = batch
        place = self.place_of[index.cpu()]
        logits = self.model(inputs, index)
        if logits.shape[0] != len(labels) or not bool(logits.isfinite().all()):
            method = self.model.method
            who = f"Method '{method.name}'" if method.reduces else "The unpruned model"
            raise KeeprateError(
                f"{who} gave logits that are not finite "
                f"(batch {batch_index}, precision {self.options.precision})."
            )
        reference = logits if self.reference is None else self.reference[place].to(logits)
        seen = judge(logits, labels, reference)
        self.metric.update(seen)
        self.batches.append(_on_cpu(self.model, labels, place, logits, seen))

    def on_test_epoch_end(self) -> None:
        """Combine what the processes found."""
        self.means = {name: float(value) for name, value in self.metric.compute().items()}
        if self.trainer.world_size > 1:
            self.batches = _gathered(self.batches)

    def outcome(self, seconds: float) -> Outcome:
        """Put the rows in the order of the samples."""
        names = self.batches[0]
        found = {name: torch.cat([batch[name] for batch in self.batches]) for name in names}
        order = found["place"].argsort()
        columns = {name: column[order] for name, column in found.items()}
        logits = columns.pop("logits")
        overhead = float(columns.pop("overhead").double().mean())
        indices = [self.samples.indices[place] for place in columns.pop("place").tolist()]
        samples = self.samples.data.samples()
        rows = {name: column.tolist() for name, column in columns.items()}
        rows["sample"] = [samples[index].id for index in indices]
        table = pl.DataFrame(rows, schema_overrides=dict(ROW_SCHEMA)).select(ROW_SCHEMA.names())
        means = dict(self.means)
        images = int(means.pop("images"))
        return Outcome(table, images, **means, overhead=overhead, logits=logits, seconds=seconds)


def _on_cpu(
    model: ReducedModel, labels: Tensor, place: Tensor, logits: Tensor, seen: Predictions
) -> dict[str, Tensor]:
    spent = model.macs_per_image
    columns = {
        "place": place,
        "label": labels,
        "logits": logits.float(),
        "tokens": model.token_counts,
        "macs": spent.total,
        "overhead": spent.overhead,
        **vars(seen),
    }
    return {name: column.detach().cpu() for name, column in columns.items()}


def _gathered(batches: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, batches)
    return [batch for part in parts for batch in part]


def _is_progress_bar(callback: Callback) -> bool:
    from lightning.pytorch.callbacks import ProgressBar

    return isinstance(callback, ProgressBar)


def is_first_process() -> bool:
    """Tell whether this process is the one that writes, of one or several."""
    return not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0


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
