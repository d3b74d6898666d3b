"""What every family must prove on a small model with random weights that matter."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import lru_cache

import pytest
import timm
import torch
from torch import nn

import keeprate
from keeprate import Needs, Place
from keeprate.backbone import Backbone, Inputs
from keeprate.backbones.lookup import adapt
from keeprate.reduction import proof
from keeprate.reduction.masked_model import masked_logits

SMALL = {
    "img_size": 32,
    "patch_size": 4,
    "embed_dim": 48,
    "depth": 4,
    "num_heads": 3,
    "num_classes": 7,
}
"""Sizes of a timm model that is quick to run: 64 patches, 4 blocks, 3 heads of 16 channels."""


def made(name: str, **options: object) -> Callable[[], nn.Module]:
    """Return how to build a timm model of a small size, apart from `options`."""
    return lambda: timm.create_model(name, **{**SMALL, **options}).eval()


INSIDE = (Place.AFTER_ATTENTION, Place.AFTER_BLOCK)
"""Places that need no look ahead, whose products the flop counter would count as the model's."""


class Battery:
    """The tests of a family: derive a `Test...` class, in a module with a fixture `model`."""

    @pytest.mark.parametrize("place", Place)
    def test_keeping_every_token_is_bit_identical(self, model: nn.Module, place: Place) -> None:
        assert_identical(model, place)

    @pytest.mark.parametrize("needs", [Needs.KEYS, Needs.WEIGHTS], ids=lambda n: n.name)
    @pytest.mark.parametrize("place", Place)
    def test_a_pruned_run_equals_the_masked_model(
        self, model: nn.Module, place: Place, needs: Needs
    ) -> None:
        assert_equals_oracle(model, place, needs)

    @pytest.mark.parametrize("place", INSIDE)
    def test_macs_equal_the_flop_counter(self, model: nn.Module, place: Place) -> None:
        assert_macs(model, place)

    def test_methods_and_half_precision_run(self, model: nn.Module) -> None:
        backbone = adapt(model)
        inputs = backbone.example(1)
        with torch.inference_mode():
            expected = backbone.plain(inputs).shape
            for name, schedule in (("tome", "r=2"), ("zero-tprune", "keep=0.7@1,2")):
                logits = keeprate.reduce(model, name, schedule)(inputs)
                assert logits.shape == expected
                assert bool(logits.isfinite().all())
        for dtype in (torch.bfloat16, torch.float16):
            assert_half_precision(model, dtype)


def randomised(model: nn.Module) -> nn.Module:
    """Give every parameter a value that matters: fresh models have zero biases."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        with torch.no_grad():
            parameter.normal_(std=0.1 if parameter.dim() > 1 else 0.5, generator=generator)
    return model


def assert_identical(model: nn.Module, place: Place = Place.AFTER_BLOCK) -> None:
    """Keeping every token gives the model's own logits, bit for bit."""
    backbone = adapt(model)
    every = ",".join(str(block) for block in range(backbone.depth))
    reduced = keeprate.reduce(model, proof.Probe(place, Needs.WEIGHTS), f"keep=1@{every}")
    inputs = backbone.example(3)
    with torch.inference_mode():
        assert torch.equal(reduced(inputs), backbone.plain(inputs))


def assert_equals_oracle(model: nn.Module, place: Place, needs: Needs) -> None:
    """Dropping tokens at two stages is the plain model with these tokens masked (float64)."""
    backbone = adapt(copy.deepcopy(model).double())
    inputs = backbone.example(3)
    reduced = proof.probed(backbone, "keep=0.6@0,2", place, needs)
    with torch.inference_mode():
        ours, plain = reduced(inputs), backbone.plain(inputs)
        expected = masked_logits(backbone, inputs, reduced.survivors, place)
    assert len(reduced.survivors) == 2
    assert proof.relative_error(ours, plain) > 1e-6
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def assert_macs(model: nn.Module, place: Place) -> None:
    """The ruler agrees with torch's flop counter to the digit, for the plain and a pruned model."""
    backbone, inputs, counted = counted_on_meta(model)
    assert keeprate.macs(model) == counted
    reduced = proof.probed(backbone, "keep=0.6@0,2", place)
    counted = proof.counted_macs(backbone, reduced, inputs)
    assert reduced.costs().model == counted
    assert reduced.macs_per_image.model.tolist() == [counted]


@lru_cache(maxsize=1)
def counted_on_meta(model: nn.Module) -> tuple[Backbone, Inputs, int]:
    """Return the shapes of the last model asked for, an input, and the cost that is counted."""
    backbone = adapt(on_meta(model))
    inputs = backbone.example(1)
    return backbone, inputs, proof.counted_macs(backbone, backbone.plain, inputs)


def assert_half_precision(model: nn.Module, dtype: torch.dtype) -> None:
    """In half precision a pruned run is finite."""
    backbone: Backbone = adapt(copy.deepcopy(model).to(dtype))
    reduced = proof.probed(backbone, "keep=0.6@0,2", needs=Needs.WEIGHTS)
    with torch.inference_mode():
        assert bool(reduced(backbone.example(2)).isfinite().all())


def on_meta(model: nn.Module) -> nn.Module:
    """Return the shapes of `model` alone."""
    return copy.deepcopy(model).to("meta")
