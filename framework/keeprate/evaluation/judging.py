"""Judges batches for all runs of a pass: their logits, and from them the rows of every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import OutOfMemoryError, Tensor

from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..engine import RunError
from ..metric import Targets
from ..reduction.reduced_model import ReducedModel
from ..reduction.shared_forward import SharedForward, refuse_out_of_memory, run_error
from ..request import LoopOptions
from ..tokens import at_least_float32
from .batch_splitting import BatchSplitter
from .classification import columns_of, metrics, targets_of
from .host_copy import HostCopy

Columns = dict[str, Tensor]
Logits = Mapping[str, Tensor]


class ReferenceLogits(Protocol):
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
    reference: ReferenceLogits | None = None


class Judge:
    """Computes the rows of batches for those runs of a pass that have not failed.

    A run that raises, or whose logits are not finite, is given up and the others go on: `fail` is
    called with it. `note` is called when memory runs out. Of a batch on a GPU all rows come to the
    host in one copy, so that its queue is empty once a batch, however many runs there are.
    """

    def __init__(
        self,
        work: Pass,
        options: LoopOptions,
        fail: Callable[[str, RunError], None],
        note: Callable[[Sequence[str], str], None],
    ) -> None:
        self.work, self.precision, self._fail, self._note = work, options.precision, fail, note
        self.forward_all = SharedForward(work.models)
        # the unpruned run first: the other rows of a batch need its logits
        self.names = sorted(work.models, key=lambda name: name != work.unpruned)
        self.failed: dict[str, RunError] = {}
        self.room = BatchSplitter(options.batch_size)
        self.metrics = metrics()
        self._samples = work.samples.data.samples()

    def rows(self, batch: Sequence[Any], places: Tensor) -> list[tuple[str, Columns]]:
        """Return the rows of a batch, on the host, computed in as few parts as fit into memory.

        `places` (B,) are the positions of its samples.
        """
        while True:
            try:
                # a list, so that rows of an attempt that failed halfway are dropped
                return list(self._attempt(batch, places))
            except OutOfMemoryError:
                note = self.room.shrink(len(self.names))
            self._note(list(self.names), note)

    def _attempt(self, batch: Sequence[Any], places: Tensor) -> Iterator[tuple[str, Columns]]:
        """Yield the rows of a batch, computed in parts of the present size."""
        inputs, index = batch
        for rows in self.room.slices(len(places)):
            place = places[rows]
            numbers = [self.work.samples.indices[position] for position in place.tolist()]
            targets = targets_of((self._samples[i] for i in numbers), index.device)
            reference = self._stored(place, index.device)
            for names in self.room.groups(self.names):
                logits = self._logits_of(_rows_of(inputs, rows), index[rows], names)
                if self.work.unpruned in logits:
                    reference = logits[self.work.unpruned]
                if reference is not None:
                    for name, columns in self._rows(logits, reference, targets):
                        yield name, {"place": place, **columns}

    def _logits_of(self, inputs: Any, index: Tensor, names: Sequence[str]) -> Logits:
        """Return each run's logits (B, K), the unpruned model's first; give up runs that fail."""
        # an earlier part of this batch may have made runs fail
        names = [name for name in names if name in self.names]
        if not names:
            return {}
        try:
            outputs = self.forward_all(inputs, index, names)
        except OutOfMemoryError as error:
            if not self.room.is_smallest(len(index), len(names)):
                raise
            trace = f"OutOfMemoryError: {error}"
            self.give_up({names[0]: RunError(f"Out of memory with one image: {error}", trace)})
            return {}
        for name, logits in outputs.logits.items():
            if len(logits) != len(index):
                message = f"gave {len(logits)} rows of logits for {len(index)} images."
                outputs.failed[name] = self._error(name, message)
        self.give_up(outputs.failed)
        # asked again: giving up the unpruned run gives up all
        return {name: outputs.logits[name] for name in names if name in self.names}

    def _rows(
        self, logits: Logits, reference: Tensor, targets: Targets
    ) -> Iterator[tuple[str, Columns]]:
        """Yield the columns of each run's rows on the host; give up the runs that have none."""
        judged = {name: self._judged(name, logits, reference, targets) for name in logits}
        finite = {name: each.isfinite().all() for name, each in logits.items()}
        copy = HostCopy()
        for name, columns in judged.items():
            for tensor in (finite[name], *columns.values()):
                copy.add(tensor)
            for record in self.work.models[name].records:
                record.changed(copy.add)
        copy.fetch()
        bad = [name for name in logits if not copy(finite[name])]
        self.give_up({name: self._not_finite(name, logits[name], targets) for name in bad})
        for name, columns in judged.items():
            spent = self._spent(name, copy)
            # asked last: any of these steps may have given up the run
            if name in self.names:
                yield name, {**spent, **{key: copy(column) for key, column in columns.items()}}

    def _judged(self, name: str, logits: Logits, reference: Tensor, targets: Targets) -> Columns:
        """Return what the metrics say of a run; none where one fails, and the run with it."""
        own = logits[name]
        try:
            columns = columns_of(own, reference, targets, self.metrics)
        except Exception as error:
            refuse_out_of_memory(error)
            # read at once here, for a metric may fail because of logits that are no numbers
            bad = [other for other, each in logits.items() if not each.isfinite().all()]
            self.give_up({other: self._not_finite(other, logits[other], targets) for other in bad})
            self.give_up({name: run_error(error)})
            return {}
        if name == self.work.unpruned:
            columns["logits"] = own.to(at_least_float32(own.dtype))
        return columns

    def _spent(self, name: str, on_host: Callable[[Tensor], Tensor]) -> Columns:
        """Return what a run spent on each image; nothing where that fails, and the run with it."""
        model = self.work.models[name]
        model.records = [record.changed(on_host) for record in model.records]
        try:
            macs = model.macs_per_image
        except Exception as error:
            self.give_up({name: run_error(error)})
            return {}
        return {"tokens": model.token_counts, "macs": macs.total, "overhead": macs.overhead}

    def _stored(self, place: Tensor, device: torch.device) -> Tensor | None:
        """Return the unpruned model's logits (B, K) from an earlier pass, None without one."""
        if self.work.reference is None:
            return None
        logits = np.ascontiguousarray(self.work.reference[place.numpy()])
        return torch.from_numpy(logits).to(device, non_blocking=True)

    def give_up(self, failed: Mapping[str, RunError]) -> None:
        """Leave out these runs from now on, or all runs if the unpruned one is among them."""
        for name, failure in failed.items():
            if name not in self.names:
                continue
            self.names.remove(name)
            self.failed[name] = failure
            self._fail(name, failure)
            if name == self.work.unpruned:
                message = (
                    f"The unpruned model, which all are compared with, failed: {failure.error}"
                )
                self.give_up(dict.fromkeys(list(self.names), RunError(message, failure.traceback)))

    def _not_finite(self, name: str, logits: Tensor, targets: Targets) -> RunError:
        first = int((~logits.isfinite()).any(dim=1).nonzero()[0])
        return self._error(
            name,
            f"gave logits that are not finite (precision {self.precision}), the first for sample "
            f"'{targets.ids[first]}'.",
        )

    def _error(self, name: str, what: str) -> RunError:
        method = self.work.models[name].method
        subject = f"Method '{method.name}'" if method.reduces else "The unpruned model"
        return RunError(f"{subject} {what}", f"{subject} {what}")


def _rows_of(inputs: Any, rows: slice) -> Any:
    """Return some rows of a batch, which is a tensor or a mapping of tensors."""
    if isinstance(inputs, Tensor):
        return inputs[rows]
    return {name: tensor[rows] for name, tensor in inputs.items()}
