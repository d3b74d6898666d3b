"""The metrics that come with keeprate, registered as those of a plugin are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..hookspecs import hookimpl
from ..metric import ImageMetric, Metric, Predictions, Targets

if TYPE_CHECKING:
    from torch import Tensor


class Top1(ImageMetric):
    """The share of samples whose first class is right."""

    name = "top1"
    heading = "Top-1"
    column = "correct"
    in_brief = True
    is_default = True

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return whether the first class is right, bool (B,)."""
        return targets.among(predictions.ranking[:, :1])[:, 0]


class Top5(ImageMetric):
    """The share of samples with a right class among the first five."""

    name = "top5"
    heading = "Top-5"
    column = "correct_top5"

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return whether one of the first five classes is right, bool (B,)."""
        return targets.among(predictions.ranking[:, :5]).any(dim=1)


class Agreement(ImageMetric):
    """The share of samples whose first class is that of the unpruned model."""

    name = "agreement"
    heading = "Agreement"
    column = "agrees"
    in_brief = True

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return whether both models have the same first class, bool (B,)."""
        return predictions.ranking[:, 0] == predictions.reference_ranking[:, 0]


class Divergence(ImageMetric):
    """The Kullback-Leibler divergence of the prediction from the unpruned model's, in nats."""

    name = "kl"
    heading = "KL"
    unit = "nats"
    in_brief = True
    higher_is_better = False

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return KL(unpruned || reduced), float64 (B,)."""
        theirs = predictions.reference_log_probs
        # rounding can make the sum a little less than zero
        return (theirs.exp() * (theirs - predictions.log_probs)).sum(dim=1).clamp_min(0)


class NegativeLogLikelihood(ImageMetric):
    """The cross-entropy of the prediction with the label, in nats."""

    name = "nll"
    heading = "NLL"
    unit = "nats"
    higher_is_better = False

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        """Return minus the logarithm of the probability of the labels, float64 (B,)."""
        log_probs = predictions.log_probs.gather(1, targets.labels.clamp_min(0))
        # several labels are one right answer: their probabilities add up
        return -log_probs.masked_fill(targets.labels < 0, -float("inf")).logsumexp(dim=1)


class CalibrationError(Metric):
    """The expected calibration error over 15 bins of confidence, as torchmetrics computes it."""

    name = "ece"
    heading = "ECE"
    higher_is_better = False
    columns: ClassVar[tuple[str, ...]] = ("confidence", Top1.column)

    def combine(self, columns: Mapping[str, Tensor]) -> float:
        """Return the mean distance of accuracy from confidence (Guo et al. 2017, equation 3)."""
        from torchmetrics.functional.classification import binary_calibration_error

        # of the first class alone, being right is a question of two answers
        confidence, right = (columns[name] for name in self.columns)
        return float(binary_calibration_error(confidence, right.long(), n_bins=15))


class ClassAccuracy(Metric):
    """The mean over classes of the share of their samples whose first class is right."""

    name = "class-top1"
    heading = "Class top-1"
    columns: ClassVar[tuple[str, ...]] = ("label", Top1.column)

    def combine(self, columns: Mapping[str, Tensor]) -> float:
        """Return the mean over the classes that have samples."""
        labels, right = (columns[name] for name in self.columns)
        classes, index = np.unique(labels.numpy(), return_inverse=True)
        sums = np.bincount(index, right.double().numpy(), len(classes))
        return float((sums / np.bincount(index, minlength=len(classes))).mean())


@hookimpl
def keeprate_metrics() -> list[type[Metric]]:
    """Return the metrics that come with keeprate."""
    return [
        Top1,
        Top5,
        Agreement,
        Divergence,
        NegativeLogLikelihood,
        CalibrationError,
        ClassAccuracy,
    ]
