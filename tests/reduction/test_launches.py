"""How many kernels the methods launch on a GPU, beyond those of the plain model, at each stage.

Counted on the meta device, as tests/support/operations.py says. The numbers may fall, not rise.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor, nn

import keeprate
from keeprate.reduction.reduced_model import ReducedModel
from keeprate_methods import pruning_layer
from operations import operations_of
from references.tiny import images_for, tiny_vit

MOST = {
    "random": 7,
    "attention-score": 10,
    "class-attention": 10,
    "tome": 25,
    "zero-tprune": 41,
    "norm": 8,
}
"""Launches at a stage; of Zero-TPrune those around its page rank."""

SCHEDULE = "18@0,11@2,8@3"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return tiny_vit().to("meta")


@pytest.fixture(autouse=True)
def page_rank_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page rank is one launch on a GPU, and many on the meta device."""

    def of_shape(weights: Tensor, **options: object) -> Tensor:
        return weights.new_empty(weights.shape[:3])

    monkeypatch.setattr(pruning_layer, "page_rank", of_shape)


def launches_per_stage(reduced: ReducedModel) -> float:
    images = images_for(reduced.plan.own.model).to("meta")
    plain = operations_of(reduced.plan.own.model, images).launches.total()
    return (operations_of(reduced, images).launches.total() - plain) / len(reduced.stages())


@pytest.mark.parametrize("name", MOST)
def test_a_stage_launches_no_more_than_it_did(name: str, model: nn.Module, tmp_path: Path) -> None:
    reduced = keeprate.reduce(model, name, SCHEDULE)
    assert launches_per_stage(reduced) <= MOST[name]
