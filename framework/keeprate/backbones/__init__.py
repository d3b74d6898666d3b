"""How each family of models is run block by block: the seam between keeprate and model code."""

from __future__ import annotations

from ..hookspecs import hookimpl
from .interface import Backbone, BlockCost, HeadCost, Inputs
from .lookup import adapt

__all__ = ["Backbone", "BlockCost", "HeadCost", "Inputs", "adapt", "keeprate_backbones"]


@hookimpl
def keeprate_backbones() -> list[type[Backbone]]:
    """Offer the families that ship with keeprate."""
    from .huggingface_dinov3 import HFDinov3
    from .huggingface_text import HFBert, HFDistilBert
    from .huggingface_vision import HFBeit, HFDinov2, HFSiglip, HFViT
    from .timm_beit import TimmBeit
    from .timm_eva import TimmEva
    from .timm_hybrid import TimmHybrid
    from .timm_lvvit import TimmLVViT
    from .timm_naflex import TimmNaFlex
    from .timm_pit import TimmPiT
    from .timm_relpos import TimmRelPos
    from .timm_vit import TimmViT
    from .timm_volo import TimmVOLO

    timm = [TimmViT, TimmHybrid, TimmNaFlex, TimmEva, TimmBeit, TimmRelPos]
    staged = [TimmLVViT, TimmPiT, TimmVOLO]
    huggingface = [HFViT, HFDinov2, HFDinov3, HFBeit, HFSiglip, HFBert, HFDistilBert]
    return [*timm, *staged, *huggingface]
