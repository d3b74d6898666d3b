"""timm's BEiT and BEiT v2: a table of relative positions per block, or one for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

import torch
from timm.layers.mlp import Mlp, SwiGLU
from timm.layers.patch_embed import PatchEmbed
from timm.models.beit import Attention, Beit, Block, RelativePositionBias
from torch import Tensor, nn

from ...tokens import Tokens
from .isotropic import TimmColumn, class_refusal, scaled, shell_refusal

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

_TABLES = (RelativePositionBias,)


class TimmBeit(TimmColumn):
    """BEiT models of timm: a bias by relative position is added to the attention logits."""

    name: ClassVar[str] = "timm-beit"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        tables = [b.attn.relative_position_bias_table for b in self.blocks]
        self.follows_positions = any(t is not None for t in (self.vit.rel_pos_bias, *tables))

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not Beit:
            return "a subclass of Beit may compute otherwise" if isinstance(model, Beit) else ""
        reasons = (_block_refusal(i, block) for i, block in enumerate(model.blocks))
        table = model.rel_pos_bias
        return (
            class_refusal("the patch embedding", model.patch_embed, (PatchEmbed,))
            or (None if table is None else class_refusal("the shared table", table, _TABLES))
            or shell_refusal(model)
            or next(filter(None, reasons), None)
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x = self.vit.patch_embed(images)
        x = torch.cat((self.vit.cls_token.expand(len(x), -1, -1), x), dim=1)
        if self.vit.pos_embed is not None:
            x = x + self.vit.pos_embed
        return cast(Tensor, self.vit.pos_drop(x))

    def context(self, images: Tensor) -> Tensor | None:
        """Return the table (H, N, N) of relative positions that all blocks share, if any."""
        table = self.vit.rel_pos_bias
        return None if table is None else cast(Tensor, table())

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, layer scale and residual."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.norm1(x)
        # the table is for all tokens: the reader looks up the rows of those that are left
        with reader.around(x_pre, b.attn, relative=True):
            attended = b.attn(x_pre, shared_rel_pos_bias=tokens.context)
        return cast(Tensor, x + b.drop_path1(scaled(attended, b.gamma_1)))

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        return cast(Tensor, x + b.drop_path2(scaled(b.mlp(b.norm2(x)), b.gamma_2)))


def _block_refusal(index: int, block: nn.Module) -> str | None:
    """Return which part of a block is of none of the known classes, None if all are known."""
    return (
        class_refusal(f"block {index}", block, (Block,))
        or class_refusal(f"the attention of block {index}", cast(Block, block).attn, (Attention,))
        or class_refusal(f"the MLP of block {index}", cast(Block, block).mlp, (Mlp, SwiGLU))
    )
