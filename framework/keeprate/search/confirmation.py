"""Compare a found schedule with others on images that the search has not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ..analysis.metrics import MetricInfo
from ..analysis.model import PairedDifference
from ..analysis.sections.paired import verdicts
from ..analysis.statistics import difference
from ..errors import KeeprateError
from ..request import Part, RunSpec
from .evaluator import Evaluator, Values

LEVEL: Final = 0.95
"""Of the intervals, and one minus the largest corrected p-value of a difference."""


@dataclass(frozen=True)
class ConfirmedSchedule:
    """A schedule and the metric, in the unit shown, on either half of the images.

    `searched` is the figure on the images of the search, which flatters what was found there;
    `confirmed` is that on the others. `found_is` says how the found schedule differs on these; it
    is None for the found one itself.
    """

    label: str
    spec: RunSpec
    macs: int
    searched: float
    confirmed: float
    found_is: PairedDifference | None = None


def confirmed(
    evaluator: Evaluator, runs: Mapping[str, RunSpec], losses: Mapping[str, float], part: Part
) -> tuple[ConfirmedSchedule, ...]:
    """Run the contenders on the images of a part, and compare the first with each of the others.

    `runs` and `losses`, those of the search, are by label. The differences are one family (Holm).
    Raises KeeprateError for a run that failed, SearchStopped.
    """
    values = dict(zip(runs, evaluator.values(list(runs.values()), part), strict=True))
    sound: dict[str, Values] = {}
    for label, found in values.items():
        if found is None or not np.isfinite(losses[label]):
            raise KeeprateError(f"The run with the schedule '{label}' failed: see log.jsonl.")
        sound[label] = found
    found_label, *others = runs
    judged = _judged(sound[found_label], {name: sound[name] for name in others}, evaluator.metric)
    metric = evaluator.metric
    sign = -1.0 if metric.higher_is_better else 1.0
    return tuple(
        ConfirmedSchedule(
            label=label,
            spec=spec,
            macs=evaluator.macs(spec),
            searched=metric.scale * sign * losses[label],
            confirmed=metric.scale * evaluator.mean(sound[label]),
            found_is=judged.get(label),
        )
        for label, spec in runs.items()
    )


def _judged(
    found: Values, others: Mapping[str, Values], metric: MetricInfo
) -> dict[str, PairedDifference]:
    limit = None if metric.bounds is None else metric.bounds[1] - metric.bounds[0]
    differences = {}
    for label, other in others.items():
        has_value = ~(np.isnan(found) | np.isnan(other))  # a sample without a label has none
        differences[label] = difference(found[has_value], other[has_value], LEVEL, limit)
    return verdicts(differences, LEVEL, metric)


def best_of(losses: Sequence[float]) -> int | None:
    """Return the position of the lowest loss, None where there is none that is finite."""
    best = min(range(len(losses)), key=losses.__getitem__, default=None)
    return None if best is None or math.isinf(losses[best]) else best
