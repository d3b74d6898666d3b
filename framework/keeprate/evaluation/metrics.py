"""The metrics of each image's prediction, and their means over a run."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

TOP = 5


@dataclass(frozen=True)
class Predictions:
    """Per image (B,): `prediction`, `correct`, `correct_top5`, `confidence`, `agrees`, `kl`.

    `top5` (B, min(5, K)) lists the best classes, best first. `kl` is in nats.
    """

    prediction: Tensor
    correct: Tensor
    top5: Tensor
    correct_top5: Tensor
    confidence: Tensor
    agrees: Tensor
    kl: Tensor


def judge(logits: Tensor, labels: Tensor, reference: Tensor) -> Predictions:
    """Compare logits (B, K) with labels (B,) and with the unpruned model's logits (B, K).

    `kl` is KL(unpruned || reduced), computed in float64. Ties go to the lower class.
    """
    log_probs = logits.double().log_softmax(dim=1)
    reference_log_probs = reference.double().log_softmax(dim=1)
    # stable, so that the class of a tie is the same on every device
    top_classes = logits.argsort(dim=1, descending=True, stable=True)[:, :TOP]
    prediction = top_classes[:, 0]
    return Predictions(
        prediction=prediction,
        correct=prediction == labels,
        top5=top_classes,
        correct_top5=(top_classes == labels[:, None]).any(dim=1),
        confidence=log_probs.gather(1, prediction[:, None])[:, 0].exp(),
        agrees=prediction == reference.argsort(dim=1, descending=True, stable=True)[:, 0],
        # rounding can make the sum a little less than zero
        kl=(reference_log_probs.exp() * (reference_log_probs - log_probs)).sum(dim=1).clamp_min(0),
    )


class PairedAccuracy(Metric):
    """Top-1, top-5, agreement with and divergence from the unpruned model, over all images.

    One metric computes all four, so that the logits are sorted only once. Sums are kept in float64
    even where the loop casts the metric together with the model. The sums of several processes are
    added up; `add_up=False` is for processes that each have all images.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, *, add_up: bool = True) -> None:
        super().__init__(sync_on_compute=add_up)
        zero = torch.zeros(5, dtype=torch.float64)
        self.add_state("sums", default=zero, dist_reduce_fx="sum")

    def update(self, seen: Predictions) -> None:
        """Add the images of one batch."""
        shares = [seen.correct, seen.correct_top5, seen.agrees, seen.kl]
        counts = [torch.ones_like(seen.kl), *(share.double() for share in shares)]
        # the loop may have cast the sums to float16, which cannot count beyond 2048
        self.sums = self.sums.double() + torch.stack(counts).sum(dim=1).to(self.sums.device)

    def compute(self) -> dict[str, Tensor]:
        """Return `images`, and the means `top1`, `top5`, `agreement` (0 to 1) and `kl` (nats)."""
        images = self.sums[0]
        means = self.sums[1:] / images
        names = ("top1", "top5", "agreement", "kl")
        return {"images": images, **dict(zip(names, means, strict=True))}
