"""The rows of a batch come from a GPU in one copy, and say whose fault it is if they do not come.

There is no GPU here: the forward passes run on the processor, and hand their logits and counts on
as tensors that say they are on one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import timm
import torch
from torch import OutOfMemoryError, Tensor

import keeprate
from far_tensors import FarTensor
from keeprate.data.samples import ImageSamples
from keeprate.dataset import DataSet, Sample
from keeprate.engine import RunError
from keeprate.evaluation import judging
from keeprate.evaluation.host_copy import HostCopy
from keeprate.evaluation.judging import Columns, Judge, Pass
from keeprate.metric import ImageMetric, Predictions, Targets
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.shared_forward import Outputs, SharedForward
from keeprate.request import LoopOptions

IMAGES = 5
SCHEDULES = {"random": "keep=0.6@1", "tome": "r=2", "ats": "keep=0.6@1"}


class Pictures(DataSet):
    """Samples of which only names and labels are looked at."""

    name = "pictures"

    def samples(self) -> Sequence[Sample]:
        return [Sample(f"image-{i}", i % 4) for i in range(IMAGES)]

    def image(self, index: int) -> Tensor:
        raise NotImplementedError

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        pass


@pytest.fixture(scope="module")
def models() -> dict[str, ReducedModel]:
    """The unpruned model and three runs, one of them with a number of tokens for each image."""
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3}
    vit = timm.create_model("vit_tiny_patch16_224", num_classes=7, **sizes).eval()
    for parameter in vit.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    reduced = {name: keeprate.reduce(vit, name, schedule) for name, schedule in SCHEDULES.items()}
    return {"full": keeprate.reduce(vit, "full"), **reduced}


@pytest.fixture
def told() -> list[tuple[str, str]]:
    """Which runs failed, and why."""
    return []


Judged = Callable[..., dict[str, list[Columns]]]


@pytest.fixture
def judge(models: dict[str, ReducedModel], told: list[tuple[str, str]]) -> Judged:
    """A function that judges a batch for some of the runs, and returns the columns of each."""

    def rows(*names: str, metric: type[ImageMetric] | None = None) -> dict[str, list[Columns]]:
        samples = ImageSamples(Pictures(), torch.nn.Identity(), range(IMAGES))
        chosen = {name: models[name] for name in names}
        judge = Judge(
            Pass(chosen, samples, range(IMAGES), unpruned="full"),
            LoopOptions(batch_size=IMAGES),
            lambda name, failure: told.append((name, failure.error)),
            lambda names, note: told.append(("", note)),
        )
        if metric is not None:
            judge.metrics = {**judge.metrics, metric.name: metric()}
        images = torch.rand(IMAGES, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        found: dict[str, list[Columns]] = {}
        with torch.inference_mode():
            for name, columns in judge.rows((images, torch.arange(IMAGES)), torch.arange(IMAGES)):
                found.setdefault(name, []).append(columns)
        return found

    return rows


def change_outputs(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[SharedForward, Outputs], None]
) -> None:
    original = SharedForward.provisional

    def changed(
        forward: SharedForward, inputs: Tensor, index: Tensor, names: Sequence[str]
    ) -> Outputs:
        outputs = original(forward, inputs, index, names)
        change(forward, outputs)
        return outputs

    monkeypatch.setattr(judging.SharedForward, "provisional", changed)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is read from the device that all forward passes seem to run on."""
    seen: list[str] = []

    def away(forward: SharedForward, outputs: Outputs) -> None:
        outputs.logits = {name: FarTensor(each, seen) for name, each in outputs.logits.items()}
        if outputs.doubts is not None:
            outputs.doubts = FarTensor(outputs.doubts, seen)
        for model in forward.models.values():
            model.records = [
                record.changed(lambda each: FarTensor(each, seen)) for record in model.records
            ]

    change_outputs(monkeypatch, away)
    return seen


@pytest.mark.parametrize("names", [["full"], ["full", "tome"], ["full", *SCHEDULES]], ids=len)
def test_a_device_is_read_once_a_batch_however_many_runs_there_are(
    names: list[str], judge: Judged, reads: list[str]
) -> None:
    assert judge(*names).keys() == set(names)
    assert len(reads) == 1


def test_rows_from_a_device_are_those_of_the_processor(
    judge: Judged, request: pytest.FixtureRequest
) -> None:
    near = judge("full", *SCHEDULES)
    request.getfixturevalue("reads")
    far = judge("full", *SCHEDULES)
    for name, (columns,) in near.items():
        (others,) = far[name]
        assert others.keys() == columns.keys()
        for key, column in columns.items():
            assert type(others[key]) is Tensor
            assert others[key].dtype == column.dtype
            assert torch.equal(others[key], column), (name, key)


def test_what_is_copied_together_keeps_its_type_and_shape() -> None:
    reads: list[str] = []
    near = [
        torch.tensor(True),
        torch.arange(6).view(2, 3).T,
        torch.tensor([True, False, True]),
        torch.tensor([0.1, torch.nan, 3.0], dtype=torch.bfloat16),
        torch.empty(0, 4),
        torch.tensor([1e-300, -2.5], dtype=torch.float64),
        torch.tensor([1.5]),
    ]
    far = [FarTensor(each, reads) for each in near]
    copy = HostCopy()
    for each in (*far, far[1], near[1]):
        copy.add(each)
    copy.fetch()
    assert len(reads) == 1
    assert copy(near[1]) is near[1]
    for one, other in zip(near, far, strict=True):
        torch.testing.assert_close(copy(other), one, rtol=0, atol=0, equal_nan=True)


class Picky(ImageMetric):
    """A metric that cannot do with logits that are no numbers."""

    name = "picky"

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        if predictions.logits.isnan().any() or predictions.reference.isnan().any():
            raise ValueError("no number")
        return predictions.logits[:, 0].double()


@pytest.mark.parametrize("spoilt", ["tome", "full"])
def test_logits_that_are_no_numbers_are_blamed_and_not_a_metric_that_fails_because_of_them(
    spoilt: str, judge: Judged, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(forward: SharedForward, outputs: Outputs) -> None:
        outputs.logits[spoilt][3, 2] = torch.nan

    change_outputs(monkeypatch, spoil)
    found = judge("full", "random", "tome", metric=Picky)
    why = "gave logits that are not finite (precision 32-true), the first for sample 'image-3'."
    if spoilt == "tome":
        assert told == [("tome", f"Method 'tome' {why}")]
        assert found.keys() == {"full", "random"}
        return
    assert told[0] == ("full", f"The unpruned model {why}")
    after = f"The unpruned model, which all are compared with, failed: The unpruned model {why}"
    assert told[1:] == [("random", after), ("tome", after)]
    assert found == {}


class Greedy(ImageMetric):
    """A metric for which there is memory for three samples at a time."""

    name = "greedy"

    def per_image(self, predictions: Predictions, targets: Targets) -> Tensor:
        if len(predictions.logits) > 3:
            raise OutOfMemoryError("CUDA out of memory.")
        return predictions.logits[:, 0].double()


def test_a_metric_that_is_out_of_memory_gets_fewer_samples_at_a_time(
    judge: Judged, told: list[tuple[str, str]]
) -> None:
    found = judge("full", "tome", metric=Greedy)
    assert told == [("", "Out of memory: from here on 3 images are computed at a time.")]
    assert [part["place"].tolist() for part in found["tome"]] == [[0, 1, 2], [3, 4]]


def test_a_failed_check_is_looked_into_before_anything_else_is_blamed(
    judge: Judged, told: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def doubt(forward: SharedForward, outputs: Outputs) -> None:
        outputs.doubts = torch.tensor(True)
        outputs.failed["random"] = RunError("A wrong place.", "")
        outputs.logits["tome"].fill_(torch.nan)  # the metric fails because of it

    original, compute = SharedForward.exactly, SharedForward.provisional

    def exactly(
        forward: SharedForward, inputs: Tensor, index: Tensor, names: Sequence[str]
    ) -> Outputs:
        logits = compute(forward, inputs, index, names).logits
        failed = {"tome": RunError("The score is NaN.", "")}
        return Outputs({name: logits[name] for name in logits if name != "tome"}, failed)

    monkeypatch.setattr(SharedForward, "exactly", exactly)
    change_outputs(monkeypatch, doubt)
    assert judge("full", "random", "tome", metric=Picky).keys() == {"full", "random"}
    assert told == [("tome", "The score is NaN.")]
    told.clear()
    monkeypatch.setattr(SharedForward, "exactly", original)
    assert judge("full", "random", "tome") == {}
    assert told[0][0] == "full"
    assert told[0][1].startswith("A check of this batch failed, and none did when the batch was")
