"""Judges batches for all runs of a pass: their logits, and from them the rows of every run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from lightning.fabric.utilities import move_data_to_device
from numpy.typing import NDArray
from torch import OutOfMemoryError, Tensor

from ..backbone import Inputs
from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..engine import RunError
from ..metric import Targets
from ..reduction.reduced_model import ReducedModel
from ..reduction.shared_forward import Outputs, SharedForward, refuse_out_of_memory, run_error
from ..request import LoopOptions
from ..tokens import at_least_float32
from .batch_splitting import BatchSplitter
from .classification import columns_of, metrics, targets_of
from .host_copy import HostCopy

Columns = dict[str, Tensor]
Compute = Callable[[Inputs, Tensor, Sequence[str]], Outputs]
"""What returns the outputs of runs for inputs, the numbers of their images, and the runs' ids."""


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


@dataclass
class _Part:
    """Some images of a batch, and the unpruned model's logits (B, K) as soon as they are known."""

    inputs: Inputs
    index: Tensor
    targets: Targets
    reference: Tensor | None


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
            part = _Part(_rows_of(inputs, rows), index[rows], targets, reference)
            for names in self.room.groups(self.names):
                for name, columns in self._rows(part, names, self.forward_all.provisional):
                    yield name, {"place": place, **columns}

    def _rows(
        self, part: _Part, names: Sequence[str], compute: Compute
    ) -> Iterator[tuple[str, Columns]]:
        """Yield the columns of each run's rows on the host; give up the runs that have none."""
        # an earlier part of this batch may have made runs fail
        names = [name for name in names if name in self.names]
        if not names:
            return
        outputs = self._outputs(part, names, compute)
        judged, unjudged = self._judged(part, outputs)
        finite = {name: each.isfinite().all() for name, each in outputs.logits.items()}
        copy = self._on_host(names, outputs, [finite, *judged.values()])
        if outputs.doubts is not None and copy(outputs.doubts):
            yield from self._rows(part, names, self.forward_all.exactly)
            return
        self.give_up(outputs.failed)
        bad = [name for name in finite if not copy(finite[name])]
        self.give_up({name: self._not_finite(name, outputs.logits[name], part) for name in bad})
        # last: a metric may fail because of logits that are no numbers
        self.give_up(unjudged)
        for name, columns in judged.items():
            spent = self._spent(name, copy) if name in self.names else None
            if spent is not None:
                yield name, {**spent, **{key: copy(column) for key, column in columns.items()}}

    def _outputs(self, part: _Part, names: Sequence[str], compute: Compute) -> Outputs:
        """Return the logits (B, K) of runs, which later ones are compared with if unpruned."""
        images = len(part.index)
        try:
            outputs = compute(part.inputs, part.index, names)
        except OutOfMemoryError as error:
            if not self.room.is_smallest(images, len(names)):
                raise
            trace = f"OutOfMemoryError: {error}"
            failure = RunError(f"Out of memory with one image: {error}", trace)
            return Outputs(failed={names[0]: failure})
        for name in [name for name in names if name in outputs.logits]:
            if len(outputs.logits[name]) != images:
                count = len(outputs.logits.pop(name))
                what = f"gave {count} rows of logits for {images} images."
                outputs.failed[name] = self._error(name, what)
        if self.work.unpruned in outputs.logits:
            part.reference = outputs.logits[self.work.unpruned]
        return outputs

    def _judged(
        self, part: _Part, outputs: Outputs
    ) -> tuple[dict[str, Columns], dict[str, RunError]]:
        """Return what the metrics say of each run, and the errors of runs where one fails."""
        judged: dict[str, Columns] = {}
        failed: dict[str, RunError] = {}
        if part.reference is None:  # the unpruned model failed
            return judged, failed
        for name, logits in outputs.logits.items():
            try:
                judged[name] = columns_of(logits, part.reference, part.targets, self.metrics)
            except Exception as error:
                refuse_out_of_memory(error)
                failed[name] = run_error(error)
            else:
                if name == self.work.unpruned:
                    judged[name]["logits"] = logits.to(at_least_float32(logits.dtype))
        return judged, failed

    def _on_host(
        self, names: Sequence[str], outputs: Outputs, wanted: Sequence[Columns]
    ) -> HostCopy:
        """Return the copy of `wanted`, of the runs' counts and of the doubts."""
        copy = HostCopy()
        for name in names:
            for record in self.work.models[name].records:
                record.changed(copy.add)
        for columns in wanted:
            for tensor in columns.values():
                copy.add(tensor)
        if outputs.doubts is not None:
            copy.add(outputs.doubts)
        copy.fetch()
        return copy

    def _spent(self, name: str, on_host: Callable[[Tensor], Tensor]) -> Columns | None:
        """Return what a run spent on each image; None where that fails, and the run with it."""
        model = self.work.models[name]
        model.records = [record.changed(on_host) for record in model.records]
        try:
            macs = model.macs_per_image
        except Exception as error:
            self.give_up({name: run_error(error)})
            return None
        return {"tokens": model.token_counts, "macs": macs.total, "overhead": macs.overhead}

    def _stored(self, place: Tensor, device: torch.device) -> Tensor | None:
        """Return the unpruned model's logits (B, K) from an earlier pass, None without one."""
        if self.work.reference is None:
            return None
        logits = np.ascontiguousarray(self.work.reference[place.numpy()])
        stored: Tensor = move_data_to_device(torch.from_numpy(logits), device)
        return stored

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

    def _not_finite(self, name: str, logits: Tensor, part: _Part) -> RunError:
        first = int((~logits.isfinite()).any(dim=1).nonzero()[0])
        return self._error(
            name,
            f"gave logits that are not finite (precision {self.precision}), the first for sample "
            f"'{part.targets.ids[first]}'.",
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
