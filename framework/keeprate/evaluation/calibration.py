"""Solves the budgets of a comparison that have to be solved on images, before its passes."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..costs import TOLERANCE, gmacs
from ..data.samples import ImageSamples
from ..engine import RunError
from ..errors import KeeprateError
from ..reduction.calibration import calibrate
from ..results.partial_rows import PartialRows
from ..results.records import CalibrationInfo
from ..study.comparison import Comparison, Run
from .distributed import broadcast_from_first, is_first_process
from .positioned_samples import PositionedSamples
from .timing import Treatment

_AT_ONCE = 16
"""Images computed at a time: fewer than in a pass, so that what a pass can hold fits."""


def solve_budgets(
    comparison: Comparison, jobs: Sequence[Run], partial: PartialRows
) -> dict[str, CalibrationInfo | RunError]:
    """Return what came out for each of these runs that awaits it, by id: the same in all processes.

    What was solved in an earlier attempt is read from `partial`, so that all rows of a run have one
    schedule; the rest is computed, and written there.
    """
    solved: dict[str, CalibrationInfo | RunError] = {}
    waiting = [job for job in jobs if job.model.plan.awaits_calibration]
    # before the processes of a distributed run form a group each solves for itself, all alike
    if waiting and (is_first_process() or not torch.distributed.is_initialized()):
        calibrator = _Calibrator(comparison)
        for job in waiting:
            solved[job.id] = partial.calibration(job.id) or calibrator.solve(job)
            if is_first_process() and isinstance(found := solved[job.id], CalibrationInfo):
                partial.keep_calibration(job.id, found)
    return broadcast_from_first(solved)


class _Calibrator:
    """Solves budgets one by one, on one sample that is decoded once for each size."""

    def __init__(self, comparison: Comparison) -> None:
        assert comparison.calibration is not None
        self.sample, self.loop = comparison.calibration, comparison.options.loop
        self._batches = cache(self._load)

    def solve(self, job: Run) -> CalibrationInfo | RunError:
        """Return how the budget of a run was solved, or the exception that ended it."""
        asked, model = job.info.calibration, job.model
        assert asked is not None
        try:
            treatment = Treatment(self.loop.precision, self.loop.accelerator)
            treatment.place([model])
            size, dtype = model.backbone.image_size, treatment.weights_dtype
            batches = self._batches(size, treatment.device, dtype)
            with treatment.autocast():
                found = calibrate(model, batches)
        except Exception as error:  # it belongs to this run: the others go on
            name = "" if isinstance(error, KeeprateError) else f"{type(error).__name__}: "
            trace = "".join(traceback.format_exception(error))
            return RunError(f"{name}{' '.join(str(error).split())}", trace)
        return asked.model_copy(update={"scale": found.scale, "macs": found.macs})

    def _load(
        self, size: tuple[int, int], device: torch.device, dtype: torch.dtype
    ) -> list[tuple[Any, Tensor]]:
        samples = self.sample.prepared.samples
        if isinstance(samples, ImageSamples):
            samples = samples.at({size})
        loader = DataLoader(
            PositionedSamples(samples, range(len(samples))),
            batch_size=min(self.loop.batch_size, _AT_ONCE),
            collate_fn=samples.collate,
        )
        return [(_moved(inputs, device, dtype), index.to(device)) for inputs, index in loader]


def _moved(inputs: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Return inputs on a device, images in the precision of the weights."""
    if isinstance(inputs, Tensor):
        return inputs.to(device, dtype if inputs.is_floating_point() else None)
    return {name: _moved(tensor, device, dtype) for name, tensor in inputs.items()}


def calibration_note(found: CalibrationInfo) -> str | None:
    """Return a sentence for the user if a mean cost is off its budget, else None."""
    assert found.macs is not None
    if found.macs >= (1 - TOLERANCE) * found.budget_macs:
        return None
    reason = "token counts are too coarse" if found.scale else "the method keeps no more of them"
    return (
        f"The images of the calibration cost {gmacs(found.macs)} on average, not "
        f"{gmacs(found.budget_macs)}: {reason}."
    )
