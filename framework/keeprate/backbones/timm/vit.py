"""timm's columnar VisionTransformer: ViT, DeiT, DeiT-III, DINOv2, SigLIP and their like."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from timm.layers.hybrid_embed import HybridEmbed
from timm.layers.patch_embed import PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from .blocks import TimmStack, blocks_refusal
from .isotropic import class_refusal, shell_refusal


class TimmViT(TimmStack):
    """Columnar Vision Transformers of timm (VisionTransformer and its distilled DeiT form).

    Only these two classes are run. A subclass is refused, since it may compute something else.
    """

    name: ClassVar[str] = "timm-vit"

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) not in (VisionTransformer, VisionTransformerDistilled):
            inherits = isinstance(model, VisionTransformer)
            return "a subclass of VisionTransformer may compute otherwise" if inherits else ""
        if type(model.patch_embed) is HybridEmbed:  # a model for the family timm-hybrid
            return ""
        return vit_refusal(model, PatchEmbed)

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x = self.vit._pos_embed(self.vit.patch_embed(images))
        return cast(Tensor, self.vit.norm_pre(self.vit.patch_drop(x)))


def vit_refusal(model: Any, patch_embed: type[nn.Module]) -> str | None:
    """Return which part of a VisionTransformer is not known, None if all are.

    Its patch embedding must be exactly of the class `patch_embed`.
    """
    return (
        class_refusal("the patch embedding", model.patch_embed, (patch_embed,))
        or blocks_refusal(model.blocks)
        or shell_refusal(model)
    )
