"""How each family of models is run block by block: the seam between keeprate and model code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..hookspecs import hookimpl

if TYPE_CHECKING:
    from ..backbone import Backbone


@hookimpl
def keeprate_backbones() -> list[type[Backbone]]:
    """Offer the families that ship with keeprate."""
    from .huggingface.dinov3 import HFDinov3
    from .huggingface.text import HFBert, HFDistilBert
    from .huggingface.vision import HFBeit, HFDinov2, HFSiglip, HFViT
    from .timm.beit import TimmBeit
    from .timm.eva import TimmEva
    from .timm.hybrid import TimmHybrid
    from .timm.lvvit import TimmLVViT
    from .timm.naflex import TimmNaFlex
    from .timm.pit import TimmPiT
    from .timm.relative_position import TimmRelPos
    from .timm.vit import TimmViT
    from .timm.volo import TimmVOLO
    from .torchvision.vit import TorchvisionViT

    timm = [TimmViT, TimmHybrid, TimmNaFlex, TimmEva, TimmBeit, TimmRelPos]
    staged = [TimmLVViT, TimmPiT, TimmVOLO]
    huggingface = [HFViT, HFDinov2, HFDinov3, HFBeit, HFSiglip, HFBert, HFDistilBert]
    return [*timm, *staged, *huggingface, TorchvisionViT]
