"""The LightningModule of a pass: it takes batches, and hands in the rows of every run."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ..analysis.metrics import compared_metric
from ..engine import RowBatch, RowSink, RunError
from ..request import LoopOptions
from .device_prefetch import DevicePrefetch
from .distributed import gathered
from .events import PassAdvanced
from .judging import Columns, Judge, Pass
from .positioned_samples import PositionedSamples


class Stopped(Exception):
    """The pass ended early because the sink is stopping; all rows so far are handed in."""


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
        self.judge = Judge(work, options, self._fail, sink.note)
        self._shown = compared_metric(None)
        self._places = torch.empty(0, dtype=torch.int64)
        self._rows: dict[str, list[Columns]] = defaultdict(list)
        self._logits: list[tuple[Tensor, Tensor]] = []
        self._sums: dict[str, Tensor] = {}
        self._batches, self._saved = 0, time.monotonic()

    def test_dataloader(self) -> DataLoader[Any] | DevicePrefetch:
        """Return a loader of this process's samples; no sample is repeated or left out."""
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        device = self.trainer.strategy.root_device
        positions = self.work.positions[rank::processes]
        self._places = torch.tensor(positions)
        loader = DataLoader(
            PositionedSamples(self.work.samples, positions),
            batch_size=self.options.batch_size,
            num_workers=self.options.workers,
            collate_fn=self.work.samples.collate,
            pin_memory=device.type == "cuda",
        )
        return DevicePrefetch(loader, device) if device.type == "cuda" else loader

    def test_step(self, batch: Sequence[Any], batch_index: int) -> None:
        """Judge one batch for every run, keep the rows, and hand them in at regular times."""
        if not self.names:
            return
        # the loader goes through the samples in order: nothing need be read from the device
        start = batch_index * self.options.batch_size
        places = self._places[start : start + len(batch[-1])]
        for name, columns in self.judge.rows(batch, places):
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
        for failed in gathered(dict(self.judge.failed)):
            self.judge.give_up(failed)

    @property
    def names(self) -> Sequence[str]:
        """The runs that have not failed."""
        return self.judge.names

    def _fail(self, name: str, failure: RunError) -> None:
        if self.trainer.is_global_zero:
            self.sink.fail(name, failure)

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


def _joined(parts: Sequence[Columns]) -> Columns:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
