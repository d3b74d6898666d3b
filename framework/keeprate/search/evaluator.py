"""Run schedules on parts of the images, in passes that they share, and keep what came out."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..analysis.metrics import MetricInfo
from ..errors import KeeprateError
from ..evaluation.comparison_runner import RunContext
from ..evaluation.estimate import macs_per_image
from ..evaluation.runner import run
from ..evaluation.tasks import tasks_of
from ..reduction.plan import make_plan
from ..request import Part, Request, RunSpec
from ..study.build import build_run
from ..study.comparison import Comparison

Values = NDArray[np.float64]
"""The values of a metric on some images, (N,)."""


class SearchStopped(Exception):
    """The search was asked to stop; what was computed is in the store."""


@dataclass
class Spent:
    """Multiply-accumulates of all that was run: each run `apart`, and in `shared` passes."""

    apart: int = 0
    shared: int = 0
    _known: set[str] = field(default_factory=set)

    def add(self, comparison: Comparison) -> None:
        """Add the runs of a comparison on all its samples, each once in a search.

        The unpruned one is among them.
        """
        images = len(comparison.samples)
        models = {job.id: job.model for job in comparison.jobs if job.id not in self._known}
        self._known.update(models)
        for model in models.values():
            self.apart += images * macs_per_image(comparison, [model])
        for task in tasks_of(comparison, {name: frozenset() for name in models}):
            self.shared += images * macs_per_image(comparison, [models[name] for name in task.ids])


@dataclass
class _Seen:
    """What is known of a run: its values on the images whose place is less than `end`."""

    end: float = 0.0
    values: list[Values | None] = field(default_factory=list)


@dataclass
class Evaluator:
    """Runs methods on parts of the images of `base`, the comparison of the unpruned model alone.

    `request` says how to run.
    """

    request: Request
    base: Comparison
    context: RunContext
    metric: MetricInfo
    spent: Spent = field(default_factory=Spent)
    _seen: dict[str, _Seen] = field(default_factory=lambda: defaultdict(_Seen))

    def losses(self, wanted: Sequence[tuple[RunSpec, float]]) -> list[float]:
        """Return the loss of each run on the images whose place is less than its number.

        It is the mean of the metric, negative where higher is better, and infinite for a run that
        failed. What a run has seen is not run again. Raises SearchStopped.
        """
        missing: dict[Part, dict[str, RunSpec]] = defaultdict(dict)
        for spec, end in wanted:
            start = self._seen[_key(spec)].end
            if start < end:
                missing[Part(start, end)][_key(spec)] = spec
        for part, specs in missing.items():
            for key, values in zip(specs, self.values(list(specs.values()), part), strict=True):
                seen = self._seen[key]
                seen.end, seen.values = part.end, [*seen.values, values]
        return [self._loss(self._seen[_key(spec)].values) for spec, _ in wanted]

    def values(self, specs: Sequence[RunSpec], part: Part) -> list[Values | None]:
        """Return the values of each run on the images of a part, None for a run that failed.

        Raises SearchStopped.
        """
        if not self.images(part):
            return [np.empty(0)] * len(specs)
        options = replace(self.request.options, part=part)
        request = replace(self.request, runs=tuple(specs), options=options)
        comparison = Comparison(
            self.base.loaded,
            self.base.data,
            [build_run(spec, options.seed) for spec in specs],
            options,
            request if request.is_by_name else None,
            self.base.skipped,
        )
        run(comparison, self.context)
        failed = set(self.context.tally.failed)
        if self.context.tally.left:
            raise SearchStopped
        self.spent.add(comparison)
        return [None if name in failed else self._read(name) for name in comparison.wanted_ids]

    def images(self, part: Part) -> int:
        """Return how many images are in a part."""
        return sum(part.holds(sample) for sample in self.base.sample_ids())

    def macs(self, spec: RunSpec) -> int:
        """Return what a run costs for an image, overhead included."""
        at_cost, backbone = build_run(spec, self.request.options.seed), self.base.backbone
        plan = make_plan(
            backbone,
            at_cost.method,
            at_cost.cost.schedule,
            at_cost.cost.budget,
            empty_last_mlp=self.request.options.empty_last_mlp,
        )
        return plan.costs(backbone.image_size).total

    def mean(self, values: Values) -> float:
        """Return the mean over the images that have a value; KeeprateError if none has."""
        if np.isnan(values).all():  # which is so of no images, too
            raise KeeprateError(
                f"No image has a value of {self.metric.name} where one is needed: give more images "
                "or another metric."
            )
        return float(np.nanmean(values))

    def _read(self, run_id: str) -> Values:
        rows = self.context.store.rows(run_id, [self.metric.column])
        return rows[self.metric.column].to_numpy().astype(np.float64)

    def _loss(self, parts: Sequence[Values | None]) -> float:
        known = [values for values in parts if values is not None]
        if len(known) < len(parts):
            return math.inf
        mean = self.mean(np.concatenate(known))
        return -mean if self.metric.higher_is_better else mean


def _key(spec: RunSpec) -> str:
    cost = spec.cost
    return json.dumps([dict(spec.values), cost.schedule, cost.budget], sort_keys=True, default=str)
