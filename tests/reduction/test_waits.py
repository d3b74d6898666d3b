"""No forward pass waits for the device: what its checks find is read once, when it is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import keeprate
from keeprate import Attention, KeeprateError, Method, Stage, Tokens
from keeprate._value_checks import DeferredChecks
from keeprate.plugins.parameters import parse_spec
from keeprate.plugins.registry import load, registry
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.reduction.shared_forward import SharedForward
from keeprate.resizing import InputMethod
from operations import operations_of
from references.tiny import images_for, tiny_vit
from weights_factory import with_weights

METHODS = load(environ={"KEEPRATE_PLUGINS": ""}).methods
SCHEDULE = "18@0,11@2,8@3"
PROCESSOR = {"atc": "clusters on the processor"}
"""Methods whose values go to the processor by their nature, and why."""
FIXED = [
    name
    for name, offer in METHODS.items()
    if name not in PROCESSOR and not offer.cls.keeps_per_image
]


def reduced_by(spec: str, folder: Path, **options: Any) -> ReducedModel:
    name, parameters = parse_spec(with_weights(spec, folder))
    cls = registry().method(name)
    of_tokens = cls.reduces and not issubclass(cls, InputMethod)
    options |= {"budget": "65%"} if issubclass(cls, InputMethod) else {}
    return keeprate.reduce(
        tiny_vit(), name, SCHEDULE if of_tokens else None, **options, **parameters
    )


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", METHODS)
def test_a_forward_pass_reads_one_value_and_that_at_its_end(name: str, tmp_path: Path) -> None:
    reduced = reduced_by(name, tmp_path)
    stages = len(reduced.stages()) if METHODS[name].cls.keeps_per_image else 0
    operations = operations_of(reduced, images_for(reduced.plan.own.model), torch.arange(3))
    assert operations.waits.total() <= 1 + stages, operations.waits


@pytest.mark.sample(4)
@pytest.mark.parametrize("name", FIXED)
def test_nothing_goes_to_the_device_or_comes_from_it(name: str, tmp_path: Path) -> None:
    reduced = reduced_by(name, tmp_path).to("meta")
    images = images_for(reduced.plan.own.model).to("meta")
    # on the meta device a read raises
    assert operations_of(reduced, images, torch.arange(3)).waits == {}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.sample(1)
@pytest.mark.parametrize("name", FIXED)
def test_cuda_itself_sees_no_wait_before_the_end(name: str, tmp_path: Path) -> None:
    reduced = reduced_by(name, tmp_path).cuda()
    images = images_for(reduced.plan.own.model).cuda()
    reduced(images)
    checks = DeferredChecks()
    torch.cuda.set_sync_debug_mode("error")
    try:
        reduced.compute(images, None, checks)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert not checks.any_failed()


class Wrong(Method):
    """Is wrong, in a way that its parameter names, for the images whose numbers it is told."""

    name = "wrong"

    def __init__(self, how: str = "nan", images: tuple[int, ...] = (1,)) -> None:
        self.how, self.images = how, images

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        index = torch.arange(tokens.num_prefix + stage.keep).repeat(len(tokens.x), 1)
        score = torch.zeros(tokens.x.shape[:2])
        for row in [row for row, image in enumerate(tokens.image.tolist()) if image in self.images]:
            if self.how == "nan":
                score[row, 3] = torch.nan
            else:
                index[row, 2] = {"twice": 1, "outside": 99, "prefix": 2}[self.how]
            if self.how == "prefix":
                index[row, 0] = tokens.count - 1
        return tokens.keep_top(score, stage.keep) if self.how == "nan" else tokens.keep(index)


FAULTS = {
    "nan": "score is not a number",
    "twice": "names position 1 of image 1 more than once",
    "outside": "names position 99 of image 1, which has 26 tokens",
    "prefix": "dropped, moved or changed prefix tokens",
}


@pytest.mark.parametrize("how", FAULTS)
def test_a_fault_is_told_as_ever_when_the_batch_is_over(how: str) -> None:
    reduced = keeprate.reduce(tiny_vit(), Wrong(how), SCHEDULE)
    with pytest.raises(KeeprateError, match=FAULTS[how]):
        reduced(images_for(reduced.model))
    unchecked = keeprate.reduce(tiny_vit(), Wrong(how), SCHEDULE, check_values=False)
    if how != "outside":
        assert unchecked(images_for(unchecked.model)).shape == (3, 5)
    assert reduced(images_for(reduced.model), torch.tensor([0, 2, 3])).shape == (3, 5)


def test_the_run_at_fault_is_found_among_those_of_a_batch() -> None:
    model = tiny_vit()
    right = keeprate.reduce(model, "tome", SCHEDULE)
    models = {
        name: ReducedModel(right.backbone, replace(right.plan, method=method))
        for name, method in (("tome", right.method), ("wrong", Wrong("twice")))
    }
    images, index = images_for(model), torch.arange(3)
    outputs = SharedForward(models)(images, index, list(models))
    assert list(outputs.failed) == ["wrong"]
    assert "position 1 of image 1 more than once" in outputs.failed["wrong"].error
    assert torch.equal(outputs.logits["tome"], right(images, index))


class Unsteady(Wrong):
    """Is wrong in its first call alone."""

    name = "unsteady"
    calls = 0

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        type(self).calls += 1
        right = Wrong("nan", ())
        return Wrong.reduce(self if self.calls == 1 else right, tokens, attention, stage)


def test_a_fault_that_is_not_found_again_is_told_too() -> None:
    Unsteady.calls = 0
    reduced = keeprate.reduce(tiny_vit(), Unsteady, SCHEDULE)
    with pytest.raises(KeeprateError, match="none did when the batch was computed again"):
        reduced(images_for(reduced.model))
