"""LV-ViT, built with timm's layers and registered with timm (see `lvvit_model`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from ...backbone import HeadCost
from ...tokens import Tokens
from ..lvvit_model import LVViT, LVViTBlock, Stem
from ..patch_grid import Grid
from .isotropic import TimmColumn, class_refusal, linear_macs, shell_refusal

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader


class TimmLVViT(TimmColumn):
    """LV-ViT (T, S, M, L), whose logits also take the best of all patch tokens.

    The maximum is taken over the patch tokens that are left.
    """

    name: ClassVar[str] = "timm-lvvit"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.head_reads_prefix_only = False

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not LVViT:
            return "a subclass of LVViT may compute otherwise" if isinstance(model, LVViT) else ""
        reasons = (_block_refusal(i, block) for i, block in enumerate(model.blocks))
        return (
            class_refusal("the patch embedding", model.patch_embed, (Stem,))
            or next(filter(None, reasons), None)
            or shell_refusal(model)
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        return cast(Tensor, self.vit.embed(images))

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, and add its output divided by `skip_lam` to the tokens."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.norm1(x)
        with reader.around(x_pre, b.attn):
            attended = b.attn(x_pre)
        return cast(Tensor, x + attended / b.skip_lam)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, and add its output divided by `skip_lam` to the tokens."""
        b = self.blocks[block]
        return cast(Tensor, x + b.mlp(b.norm2(x)) / b.skip_lam)

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K): the class token's, plus half the maximum over the patches left."""
        return cast(Tensor, self.vit.forward_head(self.vit.norm(tokens.x), tokens.valid))

    def _patches(self, image_size: tuple[int, int]) -> Grid:
        height, width = self.vit.patch_embed.patch_size
        return image_size[0] // height, image_size[1] // width

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the stem's cost: three convolutions at half the image's size, and a projection."""
        stem = self.vit.patch_embed
        weights = sum(int(c.weight.numel()) for c in (stem.conv1, stem.conv2, stem.conv3))
        # the first convolution has stride 2, and the two after it keep its size
        pixels = (image_size[0] // 2) * (image_size[1] // 2)
        return pixels * weights + self.num_patches(image_size) * int(stem.proj.weight.numel())

    def head_cost(self) -> HeadCost:
        """Return what the heads cost: one reads the class token, the other every patch token."""
        # the second head runs on every patch token, so its cost falls with them
        aux = linear_macs(self.vit.aux_head)
        return HeadCost(fixed=linear_macs(self.vit.head), per_token=aux, reads_prefix=False)


def _block_refusal(index: int, block: nn.Module) -> str | None:
    """Return which part of a block is of none of the known classes, None if all are known."""
    return (
        class_refusal(f"block {index}", block, (LVViTBlock,))
        or class_refusal(
            f"the attention of block {index}", cast(LVViTBlock, block).attn, (Attention,)
        )
        or class_refusal(f"the MLP of block {index}", cast(LVViTBlock, block).mlp, (Mlp,))
    )
