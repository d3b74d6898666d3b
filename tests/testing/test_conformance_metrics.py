"""Metrics have promises of their own: each check fails for what breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

from keeprate import ImageMetric, Metric, Predictions, Targets
from keeprate.cli import keeprate
from keeprate.plugins.registry import load
from keeprate.testing.metric_checks import METRIC_CHECKS, MetricBench
from keeprate.testing.outcome import Verdict
from keeprate.testing.runner import run_checks


class Margin(ImageMetric):
    """The probability of the first class less that of the second; NaN where that is tiny."""

    name = "margin"

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        best = predictions.log_probs.exp().topk(2, dim=1).values  # (B, 2)
        margin = best[:, 0] - best[:, 1]
        return margin.masked_fill(margin < 1e-3, torch.nan)


class Errors(Metric):
    """The share of samples whose first class is wrong."""

    name = "errors"
    higher_is_better = False
    columns: ClassVar[tuple[str, ...]] = ("correct",)

    def combine(self, columns: Mapping[str, Tensor]) -> float:
        return 1 - float(columns["correct"].double().mean())


class Silent(Margin):
    __doc__ = None


class Whole(Margin):
    """One value for the whole batch."""

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        return super().per_image(predictions, targets).nanmean()


class Counted(Margin):
    """A rank, which is a whole number."""

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        return predictions.ranking[:, 0]


class Endless(Margin):
    """A quotient by zero."""

    unit = "times"

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        return super().per_image(predictions, targets).double() / 0


class Relative(Margin):
    """The margin by the largest of the batch."""

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        margin = super().per_image(predictions, targets)
        return margin / margin.nan_to_num(0).max()


class Placed(Margin):
    """The margin of even places."""

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        margin = super().per_image(predictions, targets)
        return margin * (torch.arange(len(margin)) % 2)


class Median(Margin):
    """Combined by another function than the mean."""

    def combine(self, columns: Mapping[str, Tensor]) -> float:
        return float(columns["margin"].nanmedian())


class Misspelt(Errors):
    """Reads a column that is not there."""

    columns: ClassVar[tuple[str, ...]] = ("corect",)


class First(Errors):
    """What the first sample is worth."""

    def combine(self, columns: Mapping[str, Tensor]) -> float:
        return float(columns["correct"][0])


class Percent(Margin):
    """A share in per cent."""

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        return 100 * super().per_image(predictions, targets)


def metric_verdict(cls: type[Metric]) -> Verdict:
    return Verdict(cls.name, tuple(run_checks(METRIC_CHECKS, cls, lambda: MetricBench(cls))))


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("cls", "check", "said"),
    [
        (Silent, "described", "its docstring begins with no sentence, but ''"),
        (Whole, "values", "of 12 samples it returned Tensor, not (12,)"),
        (Counted, "values", "its values are torch.int64, neither bool nor floating point"),
        (Endless, "values", "a value is infinite"),
        (Relative, "alone", "sample 0 has the value "),
        (Placed, "alone", "sample 1 has the value "),
        (Median, "combine", "combine returned "),
        (Misspelt, "combine", "rows have no column 'corect'; there are label, "),
        (First, "order", "it is 1, and 0 of the same rows in another order"),
        (Percent, "share", "its unit is a share, from 0 to 1, and a value is "),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_a_metric_that_breaks_a_promise_fails_that_check_alone(
    cls: type[Metric], check: str, said: str
) -> None:
    verdict = metric_verdict(cls)
    assert [outcome.check for outcome in verdict.broken] == [check], str(verdict)
    assert verdict[check].said.startswith(said), verdict[check].said
    assert verdict[check].where.startswith(__file__)


@pytest.mark.parametrize("cls", [Margin, Errors])
def test_a_good_metric_keeps_every_promise(cls: type[Metric]) -> None:
    assert metric_verdict(cls).holds, str(metric_verdict(cls))


def test_the_metrics_that_ship_keep_every_promise() -> None:
    for offer in load(environ={"KEEPRATE_PLUGINS": ""}).metrics.values():
        assert metric_verdict(offer.cls).holds, str(metric_verdict(offer.cls))


def test_the_command_checks_a_metric() -> None:
    done = CliRunner().invoke(keeprate, ["check", "kl"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("Metric 'kl'\n  ok    described")
    refused = CliRunner().invoke(keeprate, ["check", "kl:power=1"])
    assert refused.output == "Error: A metric has no parameters.\n"
