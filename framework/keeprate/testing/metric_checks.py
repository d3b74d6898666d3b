"""The promises of every metric: values of samples are their own, and the figure is one number."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from ..metric import SHARE, ImageMetric, Metric, Predictions, Targets
from ..plugins.registry import registry
from .described import check_described
from .outcome import Broken, Check, NotAsked

SAMPLES, CLASSES = 12, 1000
_RTOL: Final = 1e-6
"""Two figures closer than this differ in how a processor rounds, and so are the same."""


@dataclass(frozen=True)
class MetricBench:
    """A metric under test, on the made-up predictions of `SAMPLES` samples of `CLASSES` classes.

    Ids are those of ImageNet's validation images, for metrics that look labels up; every third
    sample has two labels, of which either is right.
    """

    cls: type[Metric]

    @cached_property
    def metric(self) -> Metric:
        """The metric; an exception of its constructor is the first check's outcome."""
        return self.cls()

    @cached_property
    def logits(self) -> Tensor:
        """The logits of the unpruned model and of a run, (2, B, K)."""
        generator = torch.Generator().manual_seed(0)
        unpruned = 2 * torch.randn(SAMPLES, CLASSES, generator=generator)
        return torch.stack([unpruned, unpruned + torch.randn(unpruned.shape, generator=generator)])

    @cached_property
    def labels(self) -> Tensor:
        """The labels, int64 (B, 2): the best class of every second sample, and -1 for none."""
        ranking = self.logits[1].argsort(dim=1, descending=True)
        first = torch.where(torch.arange(SAMPLES) % 2 == 0, ranking[:, 0], ranking[:, 7])
        second = torch.where(torch.arange(SAMPLES) % 3 == 0, ranking[:, 20], -1)
        return torch.stack([first, second], dim=1)

    def values(self, metric: ImageMetric, places: Sequence[int]) -> Tensor:
        """Return what a metric says of the samples at these places, in a batch of their own."""
        reference, logits = self.logits[:, list(places)]
        labels = self.labels[list(places)]
        # as many columns as the largest number of labels in the batch
        labels = labels[:, : int((labels >= 0).sum(dim=1).max())]
        ids = tuple(f"val/ILSVRC2012_val_{place + 1:08d}.JPEG" for place in places)
        return metric.per_image(Predictions(logits, reference), Targets(ids, labels))

    def own_values(self, places: Sequence[int]) -> Tensor:
        """Return the values of the metric under test; NotAsked for one that has none."""
        if not isinstance(self.metric, ImageMetric):
            raise NotAsked("it has no value for each sample")
        return self.values(self.metric, places)

    def columns(self) -> Mapping[str, Tensor]:
        """Return the columns that `combine` reads; raises Broken for one that no rows have."""
        predictions = Predictions(self.logits[1], self.logits[0])
        prediction = predictions.ranking[:, 0]
        columns = {
            "label": self.labels[:, 0],
            "prediction": prediction,
            "confidence": predictions.log_probs.gather(1, prediction[:, None])[:, 0].exp(),
        }
        offered = (offer.cls() for offer in registry().metrics.values())
        for metric in (*offered, self.metric):
            if isinstance(metric, ImageMetric) and metric.column in self.metric.columns:
                columns[metric.column] = self.values(metric, _ALL)
        missing = [name for name in self.metric.columns if name not in columns]
        if missing:
            raise Broken(f"rows have no column '{missing[0]}'; there are {', '.join(columns)}")
        return {name: _as_stored(columns[name]) for name in self.metric.columns}


_ALL: Final = range(SAMPLES)


def _as_stored(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values


def _described(bench: MetricBench) -> str:
    check_described("metrics", bench.cls)
    for name in ("heading", "unit"):
        value = getattr(bench.metric, name)
        if not isinstance(value, str):
            raise Broken(f"its {name} is {value!r}, which is no text")
    return ""


def _values(bench: MetricBench) -> str:
    values = bench.own_values(_ALL)
    if not isinstance(values, Tensor) or values.shape != (SAMPLES,):
        shape = tuple(getattr(values, "shape", ())) or type(values).__name__
        raise Broken(f"of {SAMPLES} samples it returned {shape}, not ({SAMPLES},)")
    if values.dtype != torch.bool and not values.is_floating_point():
        raise Broken(f"its values are {values.dtype}, neither bool nor floating point")
    if values.double().isinf().any():
        raise Broken("a value is infinite")
    return f"{int(values.isnan().sum())} without a value" if values.isnan().any() else ""


def _alone(bench: MetricBench) -> str:
    together = bench.own_values(_ALL).double()
    backwards = bench.own_values(_ALL[::-1]).double().flip(0)
    alone = torch.cat([bench.own_values([place]).double() for place in _ALL])
    for values, batch in ((alone, "alone"), (backwards, "in a batch of another order")):
        differs = ~values.isclose(together, rtol=_RTOL, atol=_RTOL, equal_nan=True)
        if differs.any():
            place = int(differs.nonzero()[0])
            raise Broken(
                f"sample {place} has the value {together[place]:.6g} in a batch of {SAMPLES}, "
                f"and {values[place]:.6g} {batch}"
            )
    return ""


def _combine(bench: MetricBench) -> str:
    columns = bench.columns()
    figure = bench.metric.combine(columns)
    if not isinstance(figure, float) or not math.isfinite(figure):
        raise Broken(f"combine returned {figure!r}, not a number")
    if isinstance(bench.metric, ImageMetric):
        # one sample without a value has no part in the mean
        values = columns[bench.metric.column].double().index_fill(0, torch.tensor([1]), math.nan)
        found, mean = bench.metric.combine({bench.metric.column: values}), float(values.nanmean())
        if not math.isclose(found, mean, rel_tol=_RTOL, abs_tol=_RTOL):
            raise Broken(f"combine returned {found:.6g}, and the mean of its values is {mean:.6g}")
    return f"{figure:.4g}"


def _order(bench: MetricBench) -> str:
    columns = bench.columns()
    figure = bench.metric.combine(columns)
    other = bench.metric.combine({name: column.flip(0) for name, column in columns.items()})
    if not math.isclose(figure, other, rel_tol=_RTOL, abs_tol=_RTOL):
        raise Broken(f"it is {figure:.6g}, and {other:.6g} of the same rows in another order")
    return ""


def _share(bench: MetricBench) -> str:
    if bench.metric.unit != SHARE:
        raise NotAsked(f"its unit is '{bench.metric.unit}'")
    columns = bench.columns()
    figures = torch.tensor([bench.metric.combine(columns)], dtype=torch.float64)
    if isinstance(bench.metric, ImageMetric):
        figures = torch.cat([figures, columns[bench.metric.column].double()])
    outside = figures[(figures < 0) | (figures > 1)]
    if len(outside):
        raise Broken(f"its unit is a share, from 0 to 1, and a value is {outside[0]:.6g}")
    return ""


_PER_IMAGE = ("per_image",)

METRIC_CHECKS: tuple[Check[MetricBench], ...] = (
    Check(
        "described",
        "It has a name, a docstring that begins with a sentence, and takes no arguments.",
        _described,
        ("name", "__init__"),
    ),
    Check(
        "values",
        "If it has values, every sample has one: true or false, or a number that is not infinite.",
        _values,
        _PER_IMAGE,
    ),
    Check(
        "alone",
        "A sample's value does not depend on the other samples of its batch.",
        _alone,
        _PER_IMAGE,
        ("values",),
    ),
    Check(
        "combine",
        "The figure is one number, made of the columns it names; of values it is the mean.",
        _combine,
        ("combine", "columns"),
        ("values",),
    ),
    Check(
        "order",
        "The figure does not depend on the order of the rows.",
        _order,
        ("combine",),
        ("values", "combine"),
    ),
    Check(
        "share",
        "A share lies from 0 to 1, as do its values.",
        _share,
        ("unit", "per_image", "combine"),
        ("values", "combine"),
    ),
)
"""Every promise of a metric."""
