"""The metrics agree with torchmetrics' own, with scipy and with what is worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from scipy.special import rel_entr, softmax
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_calibration_error,
)

from keeprate import KeeprateError
from keeprate.dataset import Sample
from keeprate.evaluation.classification import columns_of, figures, metrics, targets_of
from keeprate.plugins import registry as plugins
from keeprate.plugins.registry import load

CPU = torch.device("cpu")
CLASSES = 9


def judged(logits: Tensor, labels: list[int | tuple[int, ...]], reference: Tensor) -> dict:  # type: ignore[type-arg]
    targets = targets_of([Sample(str(n), label) for n, label in enumerate(labels)], CPU)
    return columns_of(logits, reference, targets, metrics())


@pytest.fixture
def data() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(50, CLASSES, generator=generator)
    reference = logits + torch.randn(50, CLASSES, generator=generator)
    return logits, torch.randint(CLASSES, (50,), generator=generator), reference


def test_the_figures_equal_independent_ones(data: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, reference = data
    found = figures(judged(logits, labels.tolist(), reference), metrics())
    theirs, ours = softmax(reference.double().numpy(), 1), softmax(logits.double().numpy(), 1)
    per_class = [
        float((logits.argmax(1) == labels)[labels == c].double().mean())
        for c in labels.unique().tolist()
    ]
    assert found == pytest.approx(
        {
            "top1": float(multiclass_accuracy(logits, labels, CLASSES, average="micro")),
            "top5": float(multiclass_accuracy(logits, labels, CLASSES, "micro", top_k=5)),
            "agreement": float((logits.argmax(1) == reference.argmax(1)).double().mean()),
            "kl": float(rel_entr(theirs, ours).sum(1).mean()),
            "nll": float(torch.nn.functional.cross_entropy(logits.double(), labels)),
            "ece": float(multiclass_calibration_error(logits.softmax(1), labels, CLASSES, 15)),
            "class-top1": sum(per_class) / len(per_class),
        },
        rel=1e-6,
    )


def test_a_sample_of_several_classes_is_right_by_any_of_them() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0, 0.0, 0.0]] * 3)
    found = judged(logits, [(0, 4), (1, 4), 5], logits)
    assert found["label"].tolist() == [0, 1, 5]
    assert found["correct"].tolist() == [True, False, False]
    assert found["correct_top5"].tolist() == [True, True, False]
    shares = logits[0].double().softmax(0)
    right = [shares[0] + shares[4], shares[1] + shares[4], shares[5]]
    assert found["nll"].tolist() == pytest.approx([-math.log(share) for share in right])


def test_kl_is_from_the_unpruned_model_and_zero_for_equal_predictions() -> None:
    reduced, unpruned = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 50.0]])
    assert judged(reduced, [1], unpruned)["kl"].item() == pytest.approx(0.6931472)
    assert judged(unpruned, [1], reduced)["kl"].item() == pytest.approx(25 - 0.6931472)
    assert judged(reduced, [1], reduced)["kl"].item() == 0


def test_fewer_classes_than_five_are_all_among_the_top() -> None:
    seen = judged(torch.tensor([[1.0, 3.0, 2.0]]), [0], torch.zeros(1, 3))
    assert seen["top5"].tolist() == [[1, 2, 0]]
    assert seen["correct_top5"].tolist() == [True]
    assert seen["correct"].tolist() == [False]


def test_of_a_tie_the_lower_class_is_predicted() -> None:
    seen = judged(torch.tensor([[0.0, 2.0, 2.0]]), [2], torch.zeros(1, 3))
    assert seen["prediction"].tolist() == [1]


PLUGIN = """
import torch
from keeprate import ImageMetric, hookimpl

class Mine(ImageMetric):
    "A metric of the tests."
    name = "mine"
    heading = "Mine"
    def per_image(self, predictions, targets):
        return {value}

@hookimpl
def keeprate_metrics():
    return [Mine]
"""


def with_metric(value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN.format(value=value), encoding="utf-8")
    found = load([file], strict=True, environ={"KEEPRATE_PLUGINS": ""}, directory=tmp_path)
    monkeypatch.setattr(plugins, "_active", [found])


def test_a_sample_without_a_value_has_no_part_in_the_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_metric("torch.tensor([1.0, float('nan'), 0.5])", tmp_path, monkeypatch)
    found = judged(torch.zeros(3, 2), [0, 1, 0], torch.zeros(3, 2))
    assert figures(found, metrics())["mine"] == 0.75


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("torch.zeros(2, 1)", "must return one value per sample, a tensor of shape (3,), not"),
        ("0.5", "must return one value per sample, a tensor of shape (3,), not float"),
        ("1 / 0", "fails: ZeroDivisionError: division by zero ("),
    ],
)
def test_a_metric_that_returns_something_else_is_named(
    value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_metric(value, tmp_path, monkeypatch)
    with pytest.raises(KeeprateError) as caught:
        judged(torch.zeros(3, 2), [0, 1, 0], torch.zeros(3, 2))
    assert str(caught.value).startswith("Metric 'mine' ")
    assert said in str(caught.value)


def test_a_metric_is_left_out_where_rows_lack_its_column() -> None:
    columns = judged(torch.zeros(3, 2), [0, 1, 0], torch.zeros(3, 2))
    del columns["nll"]
    assert set(metrics()) - set(figures(columns, metrics())) == {"nll"}
