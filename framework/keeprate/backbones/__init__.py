"""How each family of models is run block by block: the seam between keeprate and model code."""

from __future__ import annotations

from ..hookspecs import hookimpl
from .interface import Backbone, BlockCost, HeadCost, Inputs
from .lookup import adapt

__all__ = ["Backbone", "BlockCost", "HeadCost", "Inputs", "adapt", "keeprate_backbones"]


@hookimpl
def keeprate_backbones() -> list[type[Backbone]]:
    """Offer the families that ship with keeprate."""
    from .timm_vit import TimmViT

    return [TimmViT]
