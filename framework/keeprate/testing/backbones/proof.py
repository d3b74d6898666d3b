"""The full proof of a backbone on one model, step by step, for people to read."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...backbone import Backbone
from ...backbones.lookup import adapt
from ...method import Needs, Place
from ...reduction.masked_model import masked_logits
from ...reduction.proof import (
    counted_macs,
    identity_error,
    oracle_error,
    probed,
    relative_error,
)

EXACT = 1e-8
"""Largest error that passes in float64, where only the order of sums may differ."""
LOOSE = {torch.float32: 1e-4, torch.bfloat16: 0.15, torch.float16: 0.05}
"""Largest error that passes in other precisions.

bfloat16 has fewer digits than float16, so its errors are larger.
"""
MOST_DOUBLED = 400_000_000
"""Models with more parameters are not copied in float64, which would need 3.2 GB and more."""


@dataclass(frozen=True)
class ProofStep:
    """One step of a proof; `error` is relative to the largest logit, None if none was measured."""

    what: str
    said: str
    holds: bool
    error: float | None = None


def randomise(model: nn.Module) -> nn.Module:
    """Give every parameter a random value that matters, in place; the same in every process.

    In fresh models biases, position tables and layer scales are zero or nearly so, and a proof
    would miss mistakes in them.
    """
    generator = torch.Generator().manual_seed(0)
    weights = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d)
    }
    with torch.no_grad():
        for parameter in model.parameters():
            # 1/sqrt(fan-in) keeps activations near 1 through all blocks; 4 gives the rest 0.5
            fan_in = parameter[0].numel() if id(parameter) in weights else 4
            values = torch.randn(parameter.shape, generator=generator) * fan_in**-0.5
            parameter.copy_(values)
    return model


def examine(model: nn.Module) -> Iterator[ProofStep]:
    """Yield the steps of the proof of a model in evaluation mode, one check after the other.

    A check that raises is a step that does not hold. Raises KeeprateError if no backbone runs the
    model.
    """
    adapt(model)  # raises here, not as a step that failed
    for check in (_identity, _oracle, _macs, _batch_of_one, _other_size, _half_precision):
        try:
            yield from check(model)
        except Exception as error:  # whatever a wrong backbone makes of it
            # the functions' names are what users read
            check_name = check.__name__.strip("_").replace("_", " ")
            yield ProofStep(check_name, f"raised {type(error).__name__}: {error}", False)


def two_stages(backbone: Backbone) -> str:
    """Return a schedule that drops tokens in the first block and in the middle."""
    middle = backbone.depth // 2
    return f"keep=0.6@0,{middle}" if middle else "keep=0.6@0"


def in_precision(model: nn.Module, dtype: torch.dtype) -> Backbone:
    """Return the backbone of a copy of `model` with values of `dtype`."""
    return adapt(copy.deepcopy(model).to(dtype))


def _identity(model: nn.Module) -> Iterator[ProofStep]:
    backbone = adapt(model)
    error = identity_error(backbone, backbone.example(2))
    message = "bit-identical" if error == 0 else f"error {error:.1e}"
    yield ProofStep("every token kept", message, error <= LOOSE[torch.float32], error)


def _oracle(model: nn.Module) -> Iterator[ProofStep]:
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    dtype = torch.float64 if num_parameters <= MOST_DOUBLED else torch.float32
    backbone = in_precision(model, dtype)
    inputs, schedule = backbone.example(2), two_stages(backbone)
    for place in Place:
        what = f"dropped {place}"
        if place not in backbone.places:
            yield ProofStep(what, "refused: the block's halves run side by side", True)
            continue
        # with explicit weights the block computes its attention on another path
        errors = [
            oracle_error(backbone, inputs, schedule, place, needs)
            for needs in (Needs.KEYS, Needs.WEIGHTS)
        ]
        limit = LOOSE.get(dtype, EXACT)
        message = f"error {max(errors):.1e} at {schedule} in {str(dtype).removeprefix('torch.')}"
        yield ProofStep(what, message, max(errors) <= limit, max(errors))


def _macs(model: nn.Module) -> Iterator[ProofStep]:
    # the counter needs shapes alone; on "meta" nothing is computed
    backbone = adapt(copy.deepcopy(model).to("meta"))
    inputs = backbone.example(1)
    reduced = probed(backbone, two_stages(backbone))
    plain_run, input_size = probed(backbone, "keep=1@0"), backbone.input_size(inputs)
    for what, runner, macs in (
        ("MACs, plain", backbone.plain, plain_run.costs(input_size).model),
        ("MACs, reduced", reduced, reduced.costs(input_size).model),
    ):
        counted = counted_macs(backbone, runner, inputs)
        message = f"{macs:,}"
        if macs != counted:
            message = f"{macs:,} here, {counted:,} by torch's flop counter"
        yield ProofStep(what, message, macs == counted)


def _batch_of_one(model: nn.Module) -> Iterator[ProofStep]:
    backbone = adapt(model)
    reduced = probed(backbone, two_stages(backbone))
    inputs = backbone.example(2)
    first = (
        {name: values[:1] for name, values in inputs.items()} if _is_named(inputs) else inputs[:1]
    )
    with torch.no_grad():
        pair, alone = reduced(inputs), reduced(first)
    error = relative_error(alone, pair[:1])
    yield ProofStep("a batch of one", f"error {error:.1e}", error <= LOOSE[torch.float32], error)


def _other_size(model: nn.Module) -> Iterator[ProofStep]:
    """Try images that are not square and larger than the model's own size."""
    step_name, backbone = "another, oblong size", adapt(model)
    inputs = backbone.example(2)
    if _is_named(inputs):
        yield ProofStep(step_name, "not images", True)
        return
    height, width = backbone.image_size
    images = torch.cat([inputs, inputs[..., : height // 2, :]], dim=-2)
    try:
        with torch.no_grad():
            backbone.plain(images)
    # timm's layers refuse other sizes with any of these: the model's limit, not the backbone's
    except (AssertionError, RuntimeError, ValueError):
        yield ProofStep(step_name, f"the model takes {height} x {width} pixels only", True)
        return
    error = max(
        identity_error(backbone, images),
        oracle_error(backbone, images, two_stages(backbone), Place.AFTER_BLOCK, Needs.WEIGHTS),
    )
    message = f"error {error:.1e} at {images.shape[-2]} x {width} pixels"
    yield ProofStep(step_name, message, error <= LOOSE[torch.float32], error)


def _half_precision(model: nn.Module) -> Iterator[ProofStep]:
    for dtype in (torch.bfloat16, torch.float16):
        yield _in_half(model, dtype)


def _in_half(model: nn.Module, dtype: torch.dtype) -> ProofStep:
    dtype_name = str(dtype).removeprefix("torch.")
    backbone = in_precision(model, dtype)
    inputs = backbone.example(2)
    reduced = probed(backbone, two_stages(backbone), needs=Needs.WEIGHTS)
    with torch.no_grad():
        logits = reduced(inputs)
        if not bool(logits.isfinite().all()):
            # a model that overflows by itself proves nothing against the backbone
            finite = bool(backbone.plain(inputs).isfinite().all())
            return ProofStep(
                dtype_name, "not finite" + ("" if finite else ", like the model"), not finite
            )
        error = relative_error(logits, masked_logits(backbone, inputs, reduced.survivors))
    return ProofStep(dtype_name, f"finite, error {error:.1e}", error <= LOOSE[dtype], error)


def _is_named(inputs: object) -> bool:
    return not isinstance(inputs, Tensor)
