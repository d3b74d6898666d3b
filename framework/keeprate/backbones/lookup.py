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

    Raises KeeprateError naming the model's class and what each near family misses, if none does.
    """
    reasons = []
    for offer in registry().backbones.values():
        reason = offer.cls.refusal(model)
        if reason is None:
            return offer.cls(model)
        if reason:
            reasons.append(f"{offer.name}: {reason}")
    known = ", ".join(registry().backbones)
    unknown = f"it belongs to none of the known families ({known})"
    why = "; ".join(reasons) or known_refusal(model) or unknown
    raise KeeprateError(
        f"Cannot reduce a model of class {type(model).__module__}.{type(model).__qualname__}: "
        f"{why}. "
        "Another family can be added with the keeprate_backbones hook."
    )
