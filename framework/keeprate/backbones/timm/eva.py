"""timm's Eva: EVA, EVA-02, RoPE-ViT, DINOv3, Perception Encoder, LingBot-Vision and Sapiens2."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from timm.layers import pos_embed_sincos
from timm.layers.attention import AttentionRope
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.patch_embed import PatchEmbed
from timm.models.eva import Eva, EvaAttention, EvaBlock, EvaBlockPostNorm
from torch import Tensor, nn

from ...tokens import Tokens
from .isotropic import TimmColumn, class_refusal, scaled, shell_refusal

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

_BLOCKS = (EvaBlock, EvaBlockPostNorm)
_ATTENTIONS = (EvaAttention, AttentionRope)
_MLPS = (Mlp, GluMlp, SwiGLU)
_ROPES = tuple(
    getattr(pos_embed_sincos, name)
    for name in (
        "RotaryEmbeddingCat",
        "RotaryEmbeddingMixed",
        "RotaryEmbeddingDinoV3",
        "RotaryEmbeddingMRope",
    )
    if hasattr(pos_embed_sincos, name)  # older versions of timm have fewer
)


class TimmEva(TimmColumn):
    """Vision Transformers of timm's Eva class, whose queries and keys are turned by position.

    Prefix tokens are not turned. A model has one rotary embedding for all heads and blocks, or one
    for each block and head ("mixed"), or none.
    """

    name: ClassVar[str] = "timm-eva"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.follows_positions = self.vit.rope is not None

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not Eva:
            return "a subclass of Eva may compute otherwise" if isinstance(model, Eva) else ""
        reasons = (_block_refusal(i, block) for i, block in enumerate(model.blocks))
        rope = model.rope
        return (
            class_refusal("the patch embedding", model.patch_embed, (PatchEmbed,))
            or (None if rope is None else class_refusal("the rotary embedding", rope, _ROPES))
            or shell_refusal(model)
            or next(filter(None, reasons), None)
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x, _ = self.vit._pos_embed(self.vit.patch_embed(images))
        return cast(Tensor, self.vit.norm_pre(x))

    def context(self, images: Tensor) -> Tensor | None:
        """Return the rotary embedding of the images' patches, None if the model has none.

        It is a table (M, 2d) of M patches, sines before cosines; (depth, H, M, 2d) if it is mixed.
        """
        rope, patches = self.vit.rope, self.vit.patch_embed
        if rope is None:
            return None
        if self.vit.dynamic_img_size:
            grid = patches.dynamic_feat_size(self.input_size(images))
            return cast(Tensor, rope.get_embed(shape=grid))
        cached = hasattr(rope, "feat_shape")  # it then keeps the table of the model's own grid
        return cast(Tensor, rope.get_embed() if cached else rope.get_embed(shape=patches.grid_size))

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, layer scale and residual."""
        b, x = self.blocks[block], tokens.x
        pre_norm = type(b) is EvaBlock
        x_pre = b.norm1(x) if pre_norm else x
        rope = self._rope(block, tokens)
        with reader.around(x_pre, b.attn):
            attended = b.attn(x_pre, rope=rope)
        branch = scaled(attended, b.gamma_1) if pre_norm else b.norm1(attended)
        return cast(Tensor, x + b.drop_path1(branch))

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        pre_norm = type(b) is EvaBlock
        branch = scaled(b.mlp(b.norm2(x)), b.gamma_2) if pre_norm else b.norm2(b.mlp(x))
        return cast(Tensor, x + b.drop_path2(branch))

    def _size_heads(self) -> None:
        attention = self.blocks[0].attn  # it may have q, k and v apart, so its output is measured
        self.heads = attention.num_heads
        self.head_dim = attention.proj.in_features // attention.num_heads

    def _attention_pools_prefix(self) -> bool:
        return True  # Eva hands all tokens to the pooling, whatever its settings

    def _rope(self, block: int, tokens: Tokens) -> Tensor | None:
        """Return the rotary embedding of the patch tokens that are left, for the attention."""
        if tokens.context is None:
            return None
        table = cast(Tensor, tokens.context)
        table = table[block] if getattr(self.vit, "rope_mixed", False) else table
        if tokens.position is None:  # no token has moved
            return table
        return _look_up(table, tokens.position[:, self.num_prefix :] - self.num_prefix)


def _look_up(table: Tensor, patch: Tensor) -> Tensor:
    """Return the rows (B, 1 or H, n, 2d) of a table (M, 2d) or (H, M, 2d) at `patch` (B, n)."""
    table = table.reshape(-1, *table.shape[-2:])  # (1 or H, M, 2d)
    rows = table.index_select(1, patch.flatten())
    return rows.reshape(-1, *patch.shape, table.shape[-1]).transpose(0, 1)


def _block_refusal(index: int, block: nn.Module) -> str | None:
    """Return which part of a block is of none of the known classes, None if all are known."""
    return (
        class_refusal(f"block {index}", block, _BLOCKS)
        or class_refusal(f"the attention of block {index}", cast(EvaBlock, block).attn, _ATTENTIONS)
        or class_refusal(f"the MLP of block {index}", cast(EvaBlock, block).mlp, _MLPS)
    )
