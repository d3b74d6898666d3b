"""How many kernels the methods launch on a GPU, beyond those of the plain model, at each stage.

Counted on the meta device, as tests/support/operations.py says. The numbers may fall, not rise.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor, nn

import keeprate
from keeprate.plugins.parameters import parse_spec
from keeprate.plugins.registry import load
from keeprate.reduction.reduced_model import ReducedModel
from keeprate.resizing import InputMethod
from keeprate_methods import pruning_layer
from operations import operations_of
from references.tiny import images_for, tiny_vit
from weights_factory import with_weights

MOST = {
    "random": 7,
    "attention-score": 10,
    "class-attention": 10,
    "tome": 25,
    "zero-tprune": 37,
    "norm": 7,
    "fixed": 8,
    "dct": 52,
    "evit": 33,
    "frequency": 38,
    "k-medoids": 53,
    "tofu": 40,
    "pitome": 49,
    "mctf": 96,
    "diffrate": 57,
    "gtp": 47,
    "dpc-knn": 57,
    "dynamicvit": 19,
    "sit": 31,
    "patch-merger": 28,
    "sinkhorn": 55,
    "dtem": 25,
}
"""Launches at a stage, with a third of those of a pass; of Zero-TPrune those around its page rank.

Methods that keep a number of tokens in each image, or cluster on the processor, read values, which
the meta device has not.
"""

METHODS = load(environ={"KEEPRATE_PLUGINS": ""}).methods
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


@pytest.mark.sample(6)
@pytest.mark.parametrize("name", MOST)
def test_a_stage_launches_no_more_than_it_did(name: str, model: nn.Module, tmp_path: Path) -> None:
    name, parameters = parse_spec(with_weights(name, tmp_path))
    reduced = keeprate.reduce(model, name, SCHEDULE, **parameters)
    assert launches_per_stage(reduced) <= MOST[name]


def test_every_method_of_fixed_counts_is_counted() -> None:
    counted = [
        name
        for name, offer in METHODS.items()
        if offer.cls.reduces and not issubclass(offer.cls, InputMethod)
    ]
    assert {name for name in counted if not METHODS[name].cls.keeps_per_image} - {"atc"} == {*MOST}
