"""The metrics agree with torchmetrics' own and with scipy."""

from __future__ import annotations

import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from keeprate.evaluation.metrics import PairedAccuracy, judge


@pytest.fixture
def batches() -> list[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for size in (7, 1, 12):
        logits = 2 * torch.randn(size, 9, generator=generator)
        reference = logits + torch.randn(size, 9, generator=generator)
        made.append((logits, torch.randint(9, (size,), generator=generator), reference))
    return made


def test_means_over_batches_equal_independent_ones(
    batches: list[tuple[Tensor, Tensor, Tensor]],
) -> None:
    metric = PairedAccuracy()
    for logits, labels, reference in batches:
        metric.update(judge(logits, labels, reference))
    found = {name: float(value) for name, value in metric.compute().items()}
    logits, labels, reference = (torch.cat(parts) for parts in zip(*batches, strict=True))
    theirs, ours = softmax(reference.double().numpy(), 1), softmax(logits.double().numpy(), 1)
    assert found == pytest.approx(
        {
            "images": 20,
            "top1": float(multiclass_accuracy(logits, labels, 9, average="micro")),
            "top5": float(multiclass_accuracy(logits, labels, 9, average="micro", top_k=5)),
            "agreement": float((logits.argmax(1) == reference.argmax(1)).double().mean()),
            "kl": float(rel_entr(theirs, ours).sum(1).mean()),
        },
        rel=1e-6,
    )


def test_kl_is_from_the_unpruned_model_and_zero_for_equal_predictions() -> None:
    reduced, unpruned = (
        torch.tensor([[0.0, 0.0]]),
        torch.tensor([[0.0, torch.inf]]).nan_to_num(posinf=50.0),
    )
    labels = torch.tensor([1])
    assert judge(reduced, labels, unpruned).kl.item() == pytest.approx(0.6931472)
    assert judge(unpruned, labels, reduced).kl.item() == pytest.approx(25 - 0.6931472)
    assert judge(reduced, labels, reduced).kl.item() == 0


def test_fewer_classes_than_five_are_all_among_the_top() -> None:
    seen = judge(torch.tensor([[1.0, 3.0, 2.0]]), torch.tensor([0]), torch.zeros(1, 3))
    assert seen.top5.tolist() == [[1, 2, 0]]
    assert seen.correct_top5.tolist() == [True]
    assert seen.correct.tolist() == [False]


def test_sums_stay_in_double_precision_when_the_model_is_cast() -> None:
    metric = PairedAccuracy().to(torch.bfloat16)
    for _ in range(300):
        metric.update(judge(torch.zeros(1, 2), torch.tensor([0]), torch.zeros(1, 2)))
    assert float(metric.compute()["images"]) == 300
