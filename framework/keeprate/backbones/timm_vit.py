"""timm's columnar VisionTransformer: ViT, DeiT, DeiT-III, DINOv2, SigLIP and their like."""

from __future__ import annotations

from contextlib import nullcontext
from typing import ClassVar, cast

from timm.layers.attention import Attention
from timm.layers.attention_pool import AttentionPoolLatent
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.patch_embed import PatchEmbed
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import Block, ResPostBlock, VisionTransformer
from torch import Tensor, nn

from ..attention import AttentionReader
from ..tokens import Tokens
from .interface import Backbone, BlockCost, HeadCost
from .pooling import SizeMask, size_weighted

_BLOCKS = (Block, ResPostBlock)
_MLPS = (Mlp, GluMlp, SwiGLU)
_POOLS = ("token", "avg", "max", "map")


class TimmViT(Backbone):
    """Columnar Vision Transformers of timm (VisionTransformer and its distilled DeiT form).

    Only classes whose forward pass is known are run: exactly these, no subclass, since a subclass
    may compute something else.
    """

    name: ClassVar[str] = "timm-vit"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.vit = cast(VisionTransformer, model)
        self.blocks = [cast(Block, block) for block in self.vit.blocks]
        attention = self.blocks[0].attn
        self.num_prefix = self.vit.num_prefix_tokens
        self.has_class_token = bool(self.vit.has_class_token)
        self.depth = len(self.blocks)
        self.heads = cast(int, attention.num_heads)
        self.head_dim = cast(int, attention.head_dim)
        self.channels = self.vit.embed_dim
        self.image_size = cast("tuple[int, int]", self.vit.patch_embed.img_size)
        self.head_reads_prefix_only = self.vit.global_pool == "token"

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return what of `model` is not of the known classes, None if all is."""
        if type(model) not in (VisionTransformer, VisionTransformerDistilled):
            inherits = isinstance(model, VisionTransformer)
            return "a subclass of VisionTransformer may compute otherwise" if inherits else ""
        if type(model.patch_embed) is not PatchEmbed:
            return f"patch embedding {type(model.patch_embed).__name__} is not supported"
        if not isinstance(model.patch_drop, nn.Identity):
            return "patch dropout (patch_drop_rate > 0) is not supported"
        if model.global_pool not in _POOLS:
            return f"pooling '{model.global_pool}' is not supported (known: {', '.join(_POOLS)})"
        if model.attn_pool is not None and type(model.attn_pool) is not AttentionPoolLatent:
            return f"attention pooling {type(model.attn_pool).__name__} is not supported"
        if model.attn_pool is not None and not model.attn_pool.fused_attn:
            return "fused attention is switched off in its attention pooling"
        blocks = cast(nn.Sequential, model.blocks)
        blocks = cast(nn.Sequential, model.blocks)
        if any(_is_altered(module) for module in (model, *blocks)):
            return "forward hooks on it or its blocks, or a replaced forward, would be left out"
        reasons = (_block_refusal(i, block) for i, block in enumerate(blocks))
        return next(filter(None, reasons), None)

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x = self.vit._pos_embed(self.vit.patch_embed(images))
        return cast(Tensor, self.vit.norm_pre(self.vit.patch_drop(x)))

    def attend(
        self, block: int, x: Tensor, mask: Tensor | None, reader: AttentionReader | None
    ) -> Tensor:
        """Run attention with its norm, layer scale and residual."""
        b = self.blocks[block]
        pre_norm = type(b) is Block
        x_pre = b.norm1(x) if pre_norm else x
        if reader is not None:
            reader.x_pre = x_pre
        with reader or nullcontext():
            attended = b.attn(x_pre, attn_mask=mask)
        branch = b.ls1(attended) if pre_norm else b.norm1(attended)
        return cast(Tensor, x + b.drop_path1(branch))

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        branch = b.ls2(b.mlp(b.norm2(x))) if type(b) is Block else b.norm2(b.mlp(x))
        return x + cast(Tensor, b.drop_path2(branch))

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K): norm, pooling and head as in timm, over the tokens left."""
        tokens = tokens.with_x(self.vit.norm(tokens.x))
        if self.vit.attn_pool is not None:
            skipped = 0 if self.vit.pool_include_prefix else self.num_prefix
            with SizeMask(mask[..., skipped:]) if mask is not None else nullcontext():
                return self.vit.forward_head(tokens.x)
        pooled = size_weighted(tokens, self.vit.global_pool, bool(self.vit.pool_include_prefix))
        return self.vit.forward_head(pooled)

    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return the patches of an image, padded to whole ones where the model pads."""
        rows, columns = self.vit.patch_embed.dynamic_feat_size(image_size)
        return int(rows * columns)

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the patch projection's cost: one product per weight and patch."""
        weight = cast(Tensor, self.vit.patch_embed.proj.weight)
        return self.num_patches(image_size) * weight.numel()

    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs, read off its linear layers."""
        b = self.blocks[block]
        pair = 2 * cast(int, b.attn.num_heads) * cast(int, b.attn.head_dim)
        return BlockCost(_linear_macs(b.attn), pair, _linear_macs(b.mlp))

    def head_cost(self) -> HeadCost:
        """Return what pooling and the linear heads cost."""
        heads = [self.vit.head, getattr(self.vit, "head_dist", nn.Identity())]
        fixed = sum(_linear_macs(head) for head in heads)
        pool = cast("AttentionPoolLatent | None", self.vit.attn_pool)
        if pool is None:
            return HeadCost(fixed)
        latent = _linear_macs(pool) - _linear_macs(pool.kv)  # q, proj and MLP see the latents only
        pair = 2 * pool.latent_len * pool.num_heads * pool.head_dim
        return HeadCost(
            fixed=fixed + pool.latent_len * latent,
            per_token=_linear_macs(pool.kv) + pair,
            reads_prefix=bool(self.vit.pool_include_prefix),
        )


def _block_refusal(index: int, block: nn.Module) -> str | None:
    """Return what of a block is not of the known classes."""
    if type(block) not in _BLOCKS:
        return f"block {index} is a {type(block).__name__}, not a Block or ResPostBlock"
    attention, mlp = cast(Block, block).attn, cast(Block, block).mlp
    if type(attention) is not Attention:
        return f"attention {type(attention).__name__} in block {index} is not supported"
    if not attention.fused_attn:
        return (
            f"fused attention is switched off in block {index}, so its weights cannot be read; "
            "unset TIMM_FUSED_ATTN and build the model again"
        )
    if type(mlp) not in _MLPS:
        return f"MLP {type(mlp).__name__} in block {index} is not supported"
    return None


def _is_altered(module: nn.Module) -> bool:
    """Tell whether calling `module` does more than its class says (its parts are called)."""
    hooks = (module._forward_hooks, module._forward_pre_hooks)
    return "forward" in vars(module) or any(hooks)


def _linear_macs(module: nn.Module) -> int:
    """Sum the weights of the linear layers: the products each token costs."""
    linears = (m for m in module.modules() if isinstance(m, nn.Linear))
    return sum(m.in_features * m.out_features for m in linears)
