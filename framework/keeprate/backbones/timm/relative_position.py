"""timm's VisionTransformerRelPos: relative positions from a table, or computed by a small MLP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from timm.layers.mlp import Mlp
from timm.layers.patch_embed import PatchEmbed
from timm.layers.pos_embed_rel import RelPosBias, RelPosMlp
from timm.models.vision_transformer_relpos import (
    RelPosAttention,
    RelPosBlock,
    ResPostRelPosBlock,
    VisionTransformerRelPos,
)
from torch import Tensor, nn

from ...backbone import BlockCost
from ...tokens import Tokens
from .isotropic import TimmColumn, class_refusal, linear_macs, shell_refusal

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

_BLOCKS = (RelPosBlock, ResPostRelPosBlock)
_POSITIONS = (RelPosBias, RelPosMlp)


class TimmRelPos(TimmColumn):
    """Vision Transformers of timm that add a bias by relative position to the attention logits.

    Each block has relative positions of its own, or all blocks share them.
    """

    name: ClassVar[str] = "timm-relpos"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        modules = [self.vit.shared_rel_pos, *(b.attn.rel_pos for b in self.blocks)]
        self.follows_positions = any(module is not None for module in modules)

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not VisionTransformerRelPos:
            inherits = isinstance(model, VisionTransformerRelPos)
            return "a subclass of VisionTransformerRelPos may compute otherwise" if inherits else ""
        reasons = (_block_refusal(i, block) for i, block in enumerate(model.blocks))
        return (
            class_refusal("the patch embedding", model.patch_embed, (PatchEmbed,))
            or _positions_refusal(model.shared_rel_pos)
            or shell_refusal(model)
            or next(filter(None, reasons), None)
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x = self.vit.patch_embed(images)
        if self.vit.cls_token is not None:
            x = torch.cat((self.vit.cls_token.expand(len(x), -1, -1), x), dim=1)
        return cast(Tensor, x)

    def context(self, images: Tensor) -> Tensor | None:
        """Return the bias (1, H, N, N) by relative position that all blocks share, if any."""
        shared = self.vit.shared_rel_pos
        return None if shared is None else cast(Tensor, shared.get_bias())

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, layer scale and residual."""
        b, x = self.blocks[block], tokens.x
        pre_norm = type(b) is RelPosBlock
        x_pre = b.norm1(x) if pre_norm else x
        # the bias is for all tokens: the reader looks up the rows of those that are left
        with reader.around(x_pre, b.attn, relative=True):
            attended = b.attn(x_pre, shared_rel_pos=tokens.context)
        branch = b.ls1(attended) if pre_norm else b.norm1(attended)
        return cast(Tensor, x + b.drop_path1(branch))

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        branch = b.ls2(b.mlp(b.norm2(x))) if type(b) is RelPosBlock else b.norm2(b.mlp(x))
        return cast(Tensor, x + b.drop_path2(branch))

    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs; positions that all blocks share count in the first."""
        positions = self.blocks[block].attn.rel_pos
        cost = super().block_cost(block)
        # the MLP inside the attention runs once per relative position, not once per token
        mlp = 0 if positions is None else linear_macs(positions)
        projections = cost.attention_per_token - mlp
        fixed = _positions_macs(positions) + (
            _positions_macs(self.vit.shared_rel_pos) * (block == 0)
        )
        return replace(cost, attention_per_token=projections, fixed=fixed)


def _positions_macs(positions: Any) -> int:
    """Return what it costs to compute a bias: the MLP runs once for each relative position."""
    # a table is only looked up, which counts nothing
    if type(positions) is not RelPosMlp:
        return 0
    rows, columns = positions.window_size
    return (2 * rows - 1) * (2 * columns - 1) * linear_macs(positions.mlp)


def _positions_refusal(positions: nn.Module | None) -> str | None:
    """Return that a module of relative positions is of no known class, None if it is known."""
    if positions is None:
        return None
    return class_refusal("the module of relative positions", positions, _POSITIONS)


def _block_refusal(index: int, block: nn.Module) -> str | None:
    """Return which part of a block is of none of the known classes, None if all are known."""
    b = cast(RelPosBlock, block)
    return (
        class_refusal(f"block {index}", block, _BLOCKS)
        or class_refusal(f"the attention of block {index}", b.attn, (RelPosAttention,))
        or _positions_refusal(b.attn.rel_pos)
        or class_refusal(f"the MLP of block {index}", b.mlp, (Mlp,))
    )
