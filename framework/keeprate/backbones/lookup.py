"""Find the family that runs a given model, or say why none does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import KeeprateError
from ..plugins.registry import registry
from .refusals import known_refusal

if TYPE_CHECKING:
    from torch import nn

    from ..backbone import Backbone


def adapt(model: nn.Module) -> Backbone:
    """Return the backbone that runs `model`.

    If none does, the KeeprateError names the model's class and what each near family misses.
    """
    reasons = []
    for offer in registry().backbones.values():
        reason = offer.cls.refusal(model)
        if reason is None:
            return offer.cls(model)
        if reason:  # an empty reason says that the model is of another family altogether
            reasons.append(f"{offer.name}: {reason}")
    families = ", ".join(registry().backbones)
    no_family = f"it belongs to none of the known families ({families})"
    # a family that nearly runs the model says more than what is known of models of this name
    explanation = "; ".join(reasons) or known_refusal(model) or no_family
    raise KeeprateError(
        f"Cannot reduce a model of class {type(model).__module__}.{type(model).__qualname__}: "
        f"{explanation}. "
        "Another family can be added with the keeprate_backbones hook."
    )
