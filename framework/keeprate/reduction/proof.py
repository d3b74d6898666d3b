"""Proves that a backbone runs its model correctly, by comparison with the model itself.

A run that keeps every token must give the plain model's logits. A run that drops tokens must give
the logits of the plain model, run on all tokens by its own code, in which every later attention
masks the dropped tokens as keys and the pooling leaves them out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ..attention import Attention
from ..backbone import Backbone, Inputs
from ..backbones.fused_attention import switched_on
from ..errors import KeeprateError
from ..method import Method, Needs, Place, Stage
from ..tokens import Tokens
from .masked_model import MaskedKeys, masked_logits
from .method_calls import as_written
from .model_code import code_of, has_own_code, left_out
from .plan import make_plan
from .reduced_model import ReducedModel

if TYPE_CHECKING:
    from torch.utils.flop_counter import FlopCounterMode


class Probe(Method):
    """Ranks tokens by their keys, or by the column mean of the attention, to prove a backbone."""

    name: ClassVar[str] = "probe"

    def __init__(self, place: Place, needs: Needs) -> None:
        self.place, self.needs = place, needs

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the column mean of the weights where they are there, else the keys' energy."""
        if self.needs is Needs.WEIGHTS:
            return attention.weights.mean(dim=(1, 2))
        return attention.k.square().sum(dim=(1, 3))


def probed(
    backbone: Backbone, schedule: str, place: Place = Place.AFTER_BLOCK, needs: Needs = Needs.KEYS
) -> ReducedModel:
    """Return the backbone reduced by a `Probe`, with its survivors traced."""
    plan = make_plan(backbone, Probe(place, needs), schedule, None)
    return ReducedModel(backbone, plan, trace=True)


def relative_error(ours: Tensor, expected: Tensor) -> float:
    """Return the largest difference, divided by the largest expected value."""
    # logits that are all zero must not give 0 / 0
    scale = expected.abs().max().clamp(min=torch.finfo(expected.dtype).tiny)
    return float((ours - expected).abs().max() / scale)


def identity_error(backbone: Backbone, inputs: Inputs) -> float:
    """Return the relative error of a run that keeps every token: 0.0 for identical bits."""
    with torch.no_grad():
        ours = probed(backbone, "keep=1@0")(inputs)
        return relative_error(ours, backbone.plain(inputs))


def oracle_error(
    backbone: Backbone, inputs: Inputs, schedule: str, place: Place, needs: Needs
) -> float:
    """Return the relative error of a reduced run against the masked plain model."""
    reduced = probed(backbone, schedule, place, needs)
    with torch.no_grad():
        ours = reduced(inputs)
        return relative_error(ours, masked_logits(backbone, inputs, reduced.survivors, place))


def key_counts(backbone: Backbone, reduced: ReducedModel, inputs: Inputs) -> list[int]:
    """Return the number of keys in each fused attention call of a reduced run, in order.

    Calls before the first block are left out: the embedding of some families has attention, too.
    """
    mode = MaskedKeys()
    with switched_on(backbone.model), mode:
        backbone.embed(inputs)
        earlier = len(mode.counts)
        reduced(inputs)
    return mode.counts[2 * earlier :]  # the reduced run embeds once more


def flop_counter() -> FlopCounterMode:
    """Return torch's counter of operations, which counts products with a vector as well."""
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    with_a_vector = {
        aten.mv: lambda matrix, vector, **_: 2 * math.prod(matrix),
        aten.addmv: lambda added, matrix, vector, **_: 2 * math.prod(matrix),
        aten.dot: lambda one, other, **_: 2 * math.prod(one),
    }
    return FlopCounterMode(display=False, custom_mapping=with_a_vector)


def counted_macs(backbone: Backbone, model: Any, inputs: Inputs) -> int:
    """Return the multiply-accumulates of `model(inputs)` that torch's flop counter counts.

    The gradients of the backbone's parameters stay switched off: the counter cannot follow them.
    """
    backbone.model.requires_grad_(False)
    counter = flop_counter()
    with switched_on(backbone.model), counter, torch.no_grad():
        model(inputs)
    return int(counter.get_total_flops()) // 2  # torch counts a multiplication and an addition


EXACT, HALF = (1e-5, 1e-4), (0.02, 0.1)
"""Largest errors that pass with all and with some tokens kept; `HALF` is for half precision."""

_FOUND: dict[object, str] = {}
"""The fault that the proof of each kind of model found in this process, "" for none."""

_SILENT: WeakKeyDictionary[nn.Module, object] = WeakKeyDictionary()
"""Models whose logits proved nothing, with their kind; weak, so that the models can be freed."""


class SaysNothing(Exception):
    """The logits of a model prove nothing: they are not finite, or no token changes them."""


def require_proof(backbone: Backbone) -> None:
    """Prove the kind of model that `backbone` runs, once in this process for the code it has now.

    Two random images go through the plain model, the backbone with every token kept, the backbone
    with half of them dropped in the first block, and the masked model. Models without values (on
    the meta device) are not proved, and one whose logits prove nothing, as with a new head of
    zeros, leaves others of its kind unproved. One with forward hooks, or functions of its own in
    place of its class's, is proved each time. Raises KeeprateError if anything differs.
    """
    model = backbone.model
    parameter = next(model.parameters(), None)
    if parameter is None or parameter.is_meta:
        return
    kind, alone = _model_kind(backbone), has_own_code(model)
    objection = None if alone else _FOUND.get(kind)
    if objection is None and (alone or _SILENT.get(model) != kind):
        try:
            objection = _objection(backbone)
        except SaysNothing:
            _SILENT[model] = kind
        if objection is not None and not alone:
            _FOUND[kind] = objection
    if objection:
        cls = type(model)
        raise KeeprateError(
            f"Cannot reduce a model of class {cls.__module__}.{cls.__qualname__}: backbone "
            f"'{backbone.name}' does not compute what it computes. {objection} "
            "The reduced model would be silently wrong."
        )


ReducedModel.prove = staticmethod(require_proof)


def _model_kind(backbone: Backbone) -> object:
    """Return a key that is equal for models that one proof serves."""
    model = backbone.model
    precision = next(model.parameters()).dtype
    pool = getattr(model, "global_pool", None)
    classes = frozenset(type(module) for module in model.modules())
    structure = backbone.num_prefix, backbone.maps, backbone.head_reads_prefix_only
    return type(backbone), type(model), classes, precision, str(pool), structure, code_of(model)


def _objection(backbone: Backbone) -> str:
    """Return a sentence that says what is wrong, "" for nothing; raises SaysNothing."""
    with _evaluating(backbone.model), torch.no_grad():
        inputs = backbone.example(2)
        expected = backbone.plain(inputs)
        if not bool(expected.isfinite().all()):
            raise SaysNothing
        missed = left_out(backbone.model, backbone.plain, probed(backbone, "keep=1@0"), inputs)
        if missed:
            return f"Hooks on {missed}, or another forward of it, would never run."
        exact = expected.dtype in (torch.float32, torch.float64)
        kept, dropped = EXACT if exact else HALF
        error = identity_error(backbone, inputs)
        if not error <= kept:  # "not", so that an error of NaN does not pass
            return f"With every token kept its logits differ by {error:.1e} of the largest."
        if backbone.num_patches(backbone.input_size(inputs)) < 2:
            raise SaysNothing
        return _reduction_objection(backbone, inputs, expected, dropped)


def _reduction_objection(
    backbone: Backbone, inputs: Inputs, plain: Tensor, tolerance: float
) -> str:
    reduced = probed(backbone, "keep=0.5@0")
    counts = key_counts(backbone, reduced, inputs)
    first, later = counts[0], counts[backbone.maps : backbone.maps * backbone.depth]
    # equal logits alone would not show a backbone that computes all tokens and masks them
    if any(count >= first for count in later) or len(counts) < backbone.maps * backbone.depth:
        return f"Half of the tokens were dropped in block 0, and attention saw {counts} keys."
    ours = reduced(inputs)
    error = relative_error(ours, masked_logits(backbone, inputs, reduced.survivors))
    if not error <= tolerance:
        return f"With half of the tokens dropped its logits differ by {error:.1e} of the largest."
    if backbone.depth > 1 and relative_error(ours, plain) <= 10 * tolerance:
        raise SaysNothing
    return ""


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, without autocast; restore the modes afterwards."""
    # `train()` would set every module alike, also those that were in evaluation mode
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with as_written(next(model.parameters())):
            yield
    finally:
        for module in training:
            module.training = True
