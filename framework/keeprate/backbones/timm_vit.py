"""timm's columnar VisionTransformer: ViT, DeiT, DeiT-III, DINOv2, SigLIP and their like."""

from __future__ import annotations

from typing import ClassVar, cast

from timm.layers.attention import Attention
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.patch_embed import PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block, ResPostBlock, VisionTransformer
from torch import Tensor, nn

from ..reader import AttentionReader
from ..tokens import Tokens
from .timm_column import TimmColumn, class_refusal, shell_refusal

_BLOCKS = (Block, ResPostBlock)
_MLPS = (Mlp, GluMlp, SwiGLU)


class TimmViT(TimmColumn):
    """Columnar Vision Transformers of timm (VisionTransformer and its distilled DeiT form).

    Only classes whose forward pass is known are run: exactly these, no subclass, since a subclass
    may compute something else.
    """

    name: ClassVar[str] = "timm-vit"

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return what of `model` is not of the known classes, None if all is."""
        if type(model) not in (VisionTransformer, VisionTransformerDistilled):
            inherits = isinstance(model, VisionTransformer)
            return "a subclass of VisionTransformer may compute otherwise" if inherits else ""
        if type(model.patch_embed) is not PatchEmbed:
            return f"patch embedding {type(model.patch_embed).__name__} is not supported"
        blocks = cast(nn.Sequential, model.blocks)
        reasons = (_block_refusal(i, block) for i, block in enumerate(blocks))
        return shell_refusal(model) or next(filter(None, reasons), None)

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x = self.vit._pos_embed(self.vit.patch_embed(images))
        return cast(Tensor, self.vit.norm_pre(self.vit.patch_drop(x)))

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, layer scale and residual."""
        b, x = self.blocks[block], tokens.x
        pre_norm = type(b) is Block
        x_pre = b.norm1(x) if pre_norm else x
        with reader.around(x_pre, b.attn):
            attended = b.attn(x_pre)
        branch = b.ls1(attended) if pre_norm else b.norm1(attended)
        return cast(Tensor, x + b.drop_path1(branch))

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        branch = b.ls2(b.mlp(b.norm2(x))) if type(b) is Block else b.norm2(b.mlp(x))
        return cast(Tensor, x + b.drop_path2(branch))


def _block_refusal(index: int, block: nn.Module) -> str | None:
    """Return what of a block is not of the known classes."""
    return (
        class_refusal(f"block {index}", block, _BLOCKS)
        or class_refusal(f"the attention of block {index}", cast(Block, block).attn, (Attention,))
        or class_refusal(f"the MLP of block {index}", cast(Block, block).mlp, _MLPS)
    )
