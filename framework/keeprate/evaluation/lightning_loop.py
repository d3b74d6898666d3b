"""The LightningModule of a pass: it takes batches, and hands in the rows of every run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import OutOfMemoryError, Tensor, nn
from torch.utils.data import DataLoader

from ..analysis.metrics import compared_metric
from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..engine import RowBatch, RowSink, RunError
from ..metric import Targets
from ..reduction.reduced_model import ReducedModel
from ..reduction.shared_forward import SharedForward, run_error
from ..request import LoopOptions
from ..tokens import at_least_float32
from .batch_splitting import BatchSplitter
from .classification import columns_of, metrics, targets_of
from .distributed import gathered
from .events import PassAdvanced
from .positioned_samples import PositionedSamples

Columns = dict[str, Tensor]


class Stopped(Exception):
    """The pass ended early because the sink is stopping; all rows so far are handed in."""


class Logits(Protocol):
    """Logits by the positions of samples: an array, or an object with some of its rows."""

    def __getitem__(self, positions: NDArray[Any], /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Pass:
    """Runs, by id, that go over the samples at `positions` together.

    Their predictions are compared with those of the run `unpruned`, if it is one of them, or else
    with the logits `reference` (N, K), which cover all samples or those at `positions`.
    """

    models: Mapping[str, ReducedModel]
    samples: ImageSamples | TextSamples
    positions: Sequence[int]
    unpruned: str | None = None
    reference: Logits | None = None


class PassLoop(lightning.LightningModule):
    """Judges batches for all runs of a pass; of n processes, each takes every n-th sample.

    A run that raises is given up and the others go on. Rows are handed in at regular times, at the
    end, and when the pass is stopped.
    """

    def __init__(self, work: Pass, options: LoopOptions, sink: RowSink) -> None:
        super().__init__()
        self.work, self.options, self.sink = work, options, sink
        # runs share their models: as submodules, Lightning moves and casts each once
        self.shared_models = nn.ModuleList({model.model for model in work.models.values()})
        self.forward_all = SharedForward(work.models)
        # the unpruned run first: the other rows of a batch need its logits
        self.names = sorted(work.models, key=lambda name: name != work.unpruned)
        self.failed: dict[str, RunError] = {}
        self.room = BatchSplitter(options.batch_size)
        self.metrics, self._shown = metrics(), compared_metric(None)
        self._samples = work.samples.data.samples()
        self._rows: dict[str, list[Columns]] = defaultdict(list)
        self._logits: list[tuple[Tensor, Tensor]] = []
        self._sums: dict[str, Tensor] = {}
        self._batches, self._saved = 0, time.monotonic()
        # batches carry indices into the data set; rows are kept by position among the samples
        indices = torch.tensor(work.samples.indices)
        self._place_of = torch.zeros(int(indices.max()) + 1, dtype=torch.int64)
        self._place_of[indices] = torch.arange(len(indices))

    def test_dataloader(self) -> DataLoader[Any]:
        """Return a loader of this process's samples; no sample is repeated or left out."""
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        return DataLoader(
            PositionedSamples(self.work.samples, self.work.positions[rank::processes]),
            batch_size=self.options.batch_size,
            num_workers=self.options.workers,
            collate_fn=self.work.samples.collate,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
        )

    def test_step(self, batch: Sequence[Any], batch_index: int) -> None:
        """Judge one batch for every run, keep the rows, and hand them in at regular times."""
        if not self.names:
            return
        for name, columns in self._judged(batch):
            self._keep(name, columns)
        self._batches += 1
        if self.trainer.is_global_zero:
            seen = len(batch[-1]) * self.trainer.world_size
            self.sink.listen(PassAdvanced(seen, self._shown.name, self._values()))
        if self._is_time():
            self._hand_in()
        # of several processes, one without runs goes on: the others wait for it at the end
        if self.sink.stopping() or (not self.names and self.trainer.world_size == 1):
            self._hand_in()
            raise Stopped

    def on_test_epoch_end(self) -> None:
        """Hand in the last rows, and tell the first process which runs failed in others."""
        self._hand_in()
        for failed in gathered(dict(self.failed)):
            self._give_up(failed)

    def _judged(self, batch: Sequence[Any]) -> list[tuple[str, Columns]]:
        """Return the rows of a batch, computed in as few parts as fit into memory."""
        while True:
            try:
                # a list, so that rows of an attempt that failed halfway are dropped
                return list(self._attempt(batch))
            except OutOfMemoryError:
                note = self.room.shrink(len(self.names))
            self.sink.note(list(self.names), note)

    def _attempt(self, batch: Sequence[Any]) -> Iterator[tuple[str, Columns]]:
        """Yield the rows of a batch, computed in parts of the present size."""
        inputs, index = batch
        for rows in self.room.slices(len(index)):
            indices = index[rows].cpu()
            position = self._place_of[indices]
            targets = targets_of((self._samples[i] for i in indices.tolist()), index.device)
            reference = self._stored(position)
            for names in self.room.groups(self.names):
                part = _rows_of(inputs, rows)
                for name, logits in self._logits_of(part, index[rows], names):
                    if name == self.work.unpruned:
                        reference = logits
                    if reference is not None and name in self.names:
                        columns = self._columns(name, logits, reference, targets)
                        if columns is not None:
                            yield name, {"place": position, **columns}

    def _logits_of(
        self, inputs: Any, index: Tensor, names: Sequence[str]
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield each run's logits, the unpruned model's first; give up the runs that fail."""
        # an earlier part of this batch may have made runs fail
        names = [name for name in names if name in self.names]
        if not names:
            return
        try:
            outputs = self.forward_all(inputs, index, names)
        except OutOfMemoryError as error:
            if not self.room.is_smallest(len(index), len(names)):
                raise
            trace = f"OutOfMemoryError: {error}"
            self._give_up({names[0]: RunError(f"Out of memory with one image: {error}", trace)})
            return
        for name in names:
            if name in outputs.logits and not _usable(outputs.logits[name], len(index)):
                outputs.failed[name] = self._not_finite(name, outputs.logits[name], index)
        self._give_up(outputs.failed)
        # asked again: giving up the unpruned run gives up all
        for name in names:
            if name in self.names:
                yield name, outputs.logits[name]

    def _columns(
        self, name: str, logits: Tensor, reference: Tensor, targets: Targets
    ) -> Columns | None:
        """Return the columns of a run's rows, None where a metric fails and the run with it."""
        model = self.work.models[name]
        try:
            macs = model.macs_per_image
            judged = columns_of(logits, reference, targets, self.metrics)
        except Exception as error:
            self._give_up({name: run_error(error)})
            return None
        columns = {
            "tokens": model.token_counts,
            "macs": macs.total,
            "overhead": macs.overhead,
            **judged,
        }
        if name == self.work.unpruned:
            columns["logits"] = logits.to(at_least_float32(logits.dtype))
        return {key: column.detach().cpu() for key, column in columns.items()}

    def _stored(self, position: Tensor) -> Tensor | None:
        """Return the unpruned model's logits (B, K) from an earlier pass, None without one."""
        if self.work.reference is None:
            return None
        logits = np.ascontiguousarray(self.work.reference[position.numpy()])
        return torch.from_numpy(logits).to(self.device)

    def _keep(self, name: str, columns: Columns) -> None:
        """Add rows of a batch to those that wait to be handed in."""
        if name not in self.names:
            return
        if "logits" in columns:
            self._logits.append((columns["place"], columns.pop("logits")))
        self._rows[name].append(columns)
        values = columns[self._shown.column].float()  # (B,)
        totals = torch.stack([values.nansum(), (~values.isnan()).sum()])
        self._sums[name] = self._sums[name] + totals if name in self._sums else totals

    def _values(self) -> Callable[[], dict[str, float]]:
        # a copy, because the sums go on to change before a listener asks for them
        sums = dict(self._sums)
        return lambda: {name: float(total / seen) for name, (total, seen) in sums.items()}

    def _is_time(self) -> bool:
        every = self.options.checkpoint_batches
        if every is not None:
            return self._batches % every == 0
        return time.monotonic() - self._saved >= self.options.checkpoint_seconds

    def _hand_in(self) -> None:
        """Hand in the rows since the last call, each with its share of the time."""
        rows = {name: self._rows[name] for name in self.names if self._rows[name]}
        count = sum(len(part["place"]) for parts in rows.values() for part in parts)
        # runs of a pass share their blocks, so each row gets an equal part of the time
        seconds = time.monotonic() - self._saved
        self._saved += seconds
        logits, self._logits, self._rows = self._logits, [], defaultdict(list)
        if not count:
            return
        # imported when there are rows: the loop itself needs no library of tables
        import polars as pl

        from .rows import frame, logits_frame

        frames = [frame(name, _joined(parts), seconds / count) for name, parts in rows.items()]
        logits_frames = [logits_frame(*part) for part in logits]
        self.sink.take(
            RowBatch(pl.concat(frames), pl.concat(logits_frames) if logits_frames else None)
        )

    def _give_up(self, failed: Mapping[str, RunError]) -> None:
        """Leave out these runs from now on, or all runs if the unpruned one is among them."""
        for name, failure in failed.items():
            if name not in self.names:
                continue
            self.names.remove(name)
            self.failed[name] = failure
            if self.trainer.is_global_zero:
                self.sink.fail(name, failure)
            if name == self.work.unpruned:
                message = (
                    f"The unpruned model, which all are compared with, failed: {failure.error}"
                )
                self._give_up(dict.fromkeys(list(self.names), RunError(message, failure.traceback)))

    def _not_finite(self, name: str, logits: Tensor, index: Tensor) -> RunError:
        method = self.work.models[name].method
        subject = f"Method '{method.name}'" if method.reduces else "The unpruned model"
        if len(logits) != len(index):
            message = f"{subject} gave {len(logits)} rows of logits for {len(index)} images."
            return RunError(message, message)
        first = int((~logits.isfinite()).any(dim=1).nonzero()[0])
        sample = self._samples[int(index[first])].id
        message = (
            f"{subject} gave logits that are not finite (precision {self.options.precision}), the "
            f"first for sample '{sample}'."
        )
        return RunError(message, message)


def _usable(logits: Tensor, images: int) -> bool:
    return len(logits) == images and bool(logits.isfinite().all())


def _rows_of(inputs: Any, rows: slice) -> Any:
    """Return some rows of a batch, which is a tensor or a mapping of tensors."""
    if isinstance(inputs, Tensor):
        return inputs[rows]
    return {name: tensor[rows] for name, tensor in inputs.items()}


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
