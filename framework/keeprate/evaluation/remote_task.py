"""A task on another machine: it makes the same comparison again, and computes the task there."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .._devices import device_name, device_of
from ..engine import RowSink, Task
from ..errors import KeeprateError
from ..plugins.discovery import VARIABLE
from ..plugins.registry import activate, load, registry
from ..request import Request
from ..results.environment import versions
from ..results.records import RunInfo
from ..study.build import prepare
from ..study.comparison import Comparison
from .passes import pass_of, run_pass

_PARTS = {
    "sources": "the code of its plugins",
    "backbone": "the model or its weights",
    "data": "the data set",
}
"""What may differ between two machines with the same request, by field of a run."""


@dataclass(frozen=True)
class Description:
    """What another machine must know to make a comparison again; the same for all its tasks.

    `jobs` are the runs as they are described here, `bad` the samples that were found unusable,
    `versions` the packages and `device` the name of the device here. `limits` is the environment
    variable that limits plugins, `files` are plugin files, `folder` is where relative paths start.
    Budgets that have to be solved on images are solved in `jobs`.
    """

    request: Request
    jobs: tuple[RunInfo, ...]
    bad: Mapping[str, str]
    versions: Mapping[str, str]
    device: str
    limits: str | None
    files: tuple[Path, ...]
    folder: Path


class StoredLogits:
    """Logits (N, K) of the unpruned model for the samples at N `positions`, in ascending order."""

    def __init__(self, positions: Sequence[int], logits: NDArray[Any]) -> None:
        self.positions, self.logits = np.asarray(positions), logits

    def __getitem__(self, positions: NDArray[Any]) -> NDArray[Any]:
        """Return the logits (B, K) at `positions` (B,), all of which must be stored."""
        logits: NDArray[Any] = self.logits[self.positions.searchsorted(positions)]
        return logits


@dataclass(frozen=True, eq=False, kw_only=True)
class RemoteTask(Task):
    """A task away from its comparison, which it describes.

    `logits` are the unpruned model's, None where that model is among the runs.
    """

    description: Description
    logits: StoredLogits | None

    def run_here(self, sink: RowSink) -> None:
        """Make the comparison, unless this process has it already, and compute the task.

        Raises KeeprateError for a comparison that cannot be made here or turns out different.
        """
        if self.threads is not None:
            # before any computing: the last digits of a sum depend on the number of threads
            torch.set_num_threads(self.threads)
        comparison = _comparison(self.description)
        device = device_name(device_of(self.loop.accelerator))
        if device != self.description.device:
            sink.note(self.ids, f"Computed on {device}.")
        run_pass(pass_of(comparison, self, self.logits), self.loop, sink)

    def check_portable(self) -> None:
        """Return: it came from another process."""


def portable(task: Task, comparison: Comparison, logits: StoredLogits | None) -> RemoteTask:
    """Return a task of a comparison that was made by name as one for another machine."""
    assert comparison.request is not None
    # the origin of a plugin from a file is its path, that of others is a package
    paths = [Path(plugin.origin) for plugin in registry().plugins]
    description = Description(
        request=comparison.request,
        jobs=tuple(job.info for job in comparison.jobs),
        bad=comparison.skipped,
        versions=versions(),
        device=device_name(device_of(comparison.options.loop.accelerator)),
        limits=os.environ.get(VARIABLE),
        files=tuple(path for path in paths if path.is_absolute()),
        folder=Path.cwd(),
    )
    threads = task.threads or torch.get_num_threads()
    return RemoteTask(
        task.ids, task.positions, task.loop, threads, description=description, logits=logits
    )


_last_comparison: list[tuple[Description, Comparison]] = []
"""The comparison that this process computed last; only one, as each holds a model."""


def _comparison(description: Description) -> Comparison:
    """Return the comparison; a process makes it once."""
    if not _last_comparison or _last_comparison[0][0] != description:
        # the old model goes before the new one comes: both may not fit into memory
        _last_comparison.clear()
        _last_comparison.append((description, _make(description)))
    return _last_comparison[0][1]


def _make(description: Description) -> Comparison:
    refuse_versions(description.versions, versions())
    # a machine need not have this folder if no path in the request is relative
    if description.folder.is_dir():
        os.chdir(description.folder)
    environ = {} if description.limits is None else {VARIABLE: description.limits}
    # plugins before the comparison, whose names they register
    activate(load(description.files, environ=environ, directory=description.folder))
    comparison = prepare(description.request, description.bad)
    refuse_differences(description.jobs, [job.info for job in comparison.jobs])
    for info in description.jobs:
        comparison.settle(info.id, info.calibration)
    return comparison


def refuse_versions(theirs: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Raise KeeprateError for a package of another version; builds ("+cu130") may differ."""
    for name, version in theirs.items():
        here = ours.get(name, version)
        if here.partition("+")[0] != version.partition("+")[0]:
            raise KeeprateError(
                f"{name} is {here}, not {version}: install the same version on every machine."
            )


def refuse_differences(theirs: Sequence[RunInfo], ours: Sequence[RunInfo]) -> None:
    """Raise KeeprateError that says what differs, unless `ours` has all runs of the driver."""
    if {info.id for info in theirs} <= {info.id for info in ours}:
        return
    pairs = list(zip(theirs, ours, strict=False))
    parts = [
        description
        for part, description in _PARTS.items()
        if any(getattr(one, part) != getattr(other, part) for one, other in pairs)
    ]
    raise KeeprateError(
        f"the runs are not those that were asked for, as this machine differs in "
        f"{' and '.join(parts) or 'its methods'}: make all machines the same."
    )
