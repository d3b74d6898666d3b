"""Budgets of methods that keep as many tokens as an image needs are solved on images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import keeprate
from keeprate import Attention, KeeprateError, Method, Stage, Tokens
from keeprate.backbones.lookup import adapt
from keeprate.reduction.calibration import Calibrated, calibrate
from keeprate.reduction.plan import make_plan
from keeprate.reduction.reduced_model import ReducedModel
from references.tiny import images_for, tiny_vit
from references.uneven import Uneven


class Needy(Method):
    """Keeps at most five patch tokens of any image, by place, and as scheduled where that is less.

    So the schedule alone cannot make it cost more.
    """

    name = "needy"
    keeps_per_image = True

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        left = tokens.num_prefix + min(stage.keep, 5, tokens.num_patch_tokens)
        return tokens.keep(torch.arange(left).repeat(len(tokens.x), 1))


def block(tokens: int) -> int:
    """What a block of 24 channels costs: qkv and projection, both products, the MLP."""
    return 4 * 24 * 24 * tokens + 2 * 24 * tokens**2 + 2 * 24 * 96 * tokens


def uneven_cost(keep: int) -> int:
    """What an image costs that keeps so many of 25 patch tokens after the second of 4 blocks."""
    return 25 * 3 * 4 * 4 * 24 + 2 * block(26) + 2 * block(1 + keep) + 24 * 5


def inputs(model: torch.nn.Module, batch: int = 6) -> list[tuple[Tensor, Tensor | None]]:
    """Images in two batches, whose numbers make `Uneven` keep 0, 1 and 2 fewer in turn."""
    images = images_for(model, batch)
    return [(images[:4], torch.arange(4)), (images[4:], torch.arange(4, batch))]


def model_of(method: Method, budget: float, schedule: str = "keep@1") -> ReducedModel:
    plan = make_plan(adapt(tiny_vit()), method, schedule, budget)
    return ReducedModel(plan.backbone, plan)


@pytest.mark.parametrize("keep", [9, 15, 24])
def test_the_mean_cost_of_the_images_meets_the_budget(keep: int) -> None:
    mean = sum(uneven_cost(keep - fewer) for fewer in range(3)) / 3
    model = model_of(Uneven(), (mean + 500) / 1e9)
    bound = model.plan.most(model.backbone.image_size)
    found = calibrate(model, inputs(model.model))
    # as if every image kept the most that it may, the budget would allow a token less
    assert bound == (Stage(1, keep - 1, 4),)
    assert model.stages() == (Stage(1, keep, 4),)
    assert 0 <= found.macs - mean < 1
    model(*inputs(model.model)[0])
    assert model.macs_per_image.total.tolist() == [
        uneven_cost(keep - fewer) for fewer in (0, 1, 2, 0)
    ]


def test_a_method_that_keeps_no_more_costs_less_than_the_budget() -> None:
    model = model_of(Needy(), uneven_cost(20) / 1e9)
    found = calibrate(model, inputs(model.model))
    before_the_mlp = uneven_cost(5) - 2 * 24 * 96 * (26 - 6)
    assert found == Calibrated(0.0, before_the_mlp, uneven_cost(20))
    assert model.stages() == (Stage(1, 25, 4),)


def test_what_is_not_calibrated_does_not_run() -> None:
    model = model_of(Uneven(), uneven_cost(12) / 1e9)
    with pytest.raises(KeeprateError, match="has to be solved on images"):
        model(images_for(model.model))
    with pytest.raises(KeeprateError, match="no images to calibrate on"):
        calibrate(model, [])


def test_reduce_takes_images_and_says_so() -> None:
    vit = tiny_vit().train()
    with pytest.raises(KeeprateError) as refused:
        keeprate.reduce(vit, Uneven(), budget="60%")
    assert str(refused.value) == (
        "Method 'uneven' keeps a different number of tokens in every image, so the budget 60% has "
        "to be solved on images that are not tested: give some with calibration=IMAGES, or a "
        "schedule in place of the budget."
    )
    images = images_for(vit, 6)
    several = keeprate.reduce(vit, Uneven(), budget="60%", calibration=[images[:3], images[3:]])
    at_once = keeprate.reduce(vit, Uneven(), budget="60%", calibration=images[:3])
    assert several.stages() == at_once.stages()
    assert several.training
    with torch.inference_mode():
        at_once.eval()(images[:3])
    share = at_once.macs_per_image.total.double().mean() / keeprate.macs(vit)
    assert 0.58 < share <= 0.6


def test_methods_whose_counts_are_known_leave_the_images_alone() -> None:
    vit, images = tiny_vit(), images_for(tiny_vit())
    plain = keeprate.reduce(vit, "tome", budget="60%")
    assert keeprate.reduce(vit, "tome", budget="60%", calibration=images).stages() == plain.stages()
