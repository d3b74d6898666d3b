"""timm's VOLO: outlookers, then Transformer blocks of one width, then class attention."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
import torch.nn.functional as F
from timm.layers.mlp import Mlp
from timm.models.volo import (
    VOLO,
    Attention,
    ClassAttention,
    ClassBlock,
    Downsample,
    OutlookAttention,
    Outlooker,
    PatchEmbed,
    Transformer,
)
from torch import Tensor, nn

from ...backbone import Backbone, BlockCost, HeadCost
from ...tokens import Tokens
from ..patch_grid import Grid, convolution_macs, output_grid, whole
from .isotropic import altered_refusal, class_refusal, linear_macs, uncounted_refusal

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader


class TimmVOLO(Backbone):
    """Vision Outlookers of timm (D1 to D5).

    Outlookers look at windows of a whole grid of patches, so tokens are reduced in the Transformer
    blocks after them: these are the blocks 0, 1, ... of a schedule. The class token is added after
    the last block and attends to the patch tokens that are left. The logits also take the maximum
    over these tokens.
    """

    name: ClassVar[str] = "timm-volo"
    blocks: list[Any]

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.volo = cast(Any, model)
        self.outlookers, self.downsample, *stages = self.volo.network
        self.blocks = list(chain.from_iterable(stages))
        self.num_prefix, self.has_class_token, self.head_reads_prefix_only = 0, False, False
        self.depth = len(self.blocks)
        self.channels = self.volo.num_features
        self.heads = self.blocks[0].attn.num_heads
        self.head_dim = self.channels // self.heads
        # VOLO keeps no image size: the grid of its position embedding gives it
        rows, columns = self.volo.pos_embed.shape[1:3]
        side = _patch_size(self.volo) * self.downsample.proj.stride[0]
        self.image_size = rows * side, columns * side

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not VOLO:
            return "a subclass of VOLO may compute otherwise" * isinstance(model, VOLO)
        if model.global_pool != "token" or model.post_network is None:
            return "a head that does not read a class token after class attention is not supported"
        return next(filter(None, _refusals(model)), None)

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first Transformer block."""
        x = self.volo.patch_embed(images).permute(0, 2, 3, 1)  # (B, H, W, C)
        x = self.downsample(self.outlookers(x))
        return cast(Tensor, self.volo.pos_drop(x + self.volo.pos_embed).flatten(1, 2))

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm and residual, on the tokens as a grid of one column."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.norm1(x)
        with reader.around(x_pre, b.attn):
            # its attention takes a grid (B, H, W, C) and flattens it, so any shape will do
            attended = b.attn(x_pre[:, :, None]).flatten(1, 2)
        return cast(Tensor, x + b.drop_path1(attended))

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm and residual."""
        b = self.blocks[block]
        return cast(Tensor, x + b.drop_path2(b.mlp(b.norm2(x))))

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K): the class token's, plus half the maximum over the patches left."""
        x = torch.cat([self.volo.cls_token.expand(len(tokens.x), -1, -1), tokens.x], dim=1)
        for block in self.volo.post_network:
            # timm's own block cannot be given a mask; the class token in front is never masked
            x = block(x) if mask is None else _masked_class_block(block, x, F.pad(mask, (1, 0)))
        x = self.volo.norm(x)
        logits = self.volo.head(self.volo.head_drop(x[:, 0]))
        if self.volo.aux_head is None:
            return cast(Tensor, logits)
        patches = self.volo.aux_head(self.volo.head_drop(x)[:, 1:])
        if tokens.valid is not None:
            patches = patches.masked_fill(~tokens.valid[..., None], -torch.inf)
        return cast(Tensor, logits + 0.5 * patches.max(1)[0])

    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return how many patches of an image the Transformer blocks see."""
        rows, columns = self._coarse_grid(image_size)
        return rows * columns

    def grid(self, image_size: tuple[int, int]) -> Grid | None:
        """Return the rows and columns of the patches in the Transformer blocks."""
        return whole(self._coarse_grid(image_size), image_size)

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the cost of stem, outlookers and the convolution after them."""
        macs, grid = 0, image_size
        for convolution in _convolutions(self.volo.patch_embed):
            grid = output_grid(convolution, grid)
            macs += convolution_macs(convolution, grid)
        macs += sum(_outlooker_macs(outlooker, grid) for outlooker in self.outlookers)
        proj = self.downsample.proj
        return macs + convolution_macs(proj, output_grid(proj, grid))

    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs, read off its linear layers."""
        b = self.blocks[block]
        return BlockCost(linear_macs(b.attn), 2 * self.channels, linear_macs(b.mlp))

    def head_cost(self) -> HeadCost:
        """Return what class attention and the two heads cost."""
        fixed, per_token = linear_macs(self.volo.head), 0
        for block in self.volo.post_network:
            # keys and values of every token; all else in the block runs on the class token alone
            every = linear_macs(block.attn.kv) + 2 * block.attn.num_heads * block.attn.head_dim
            fixed += linear_macs(block) - linear_macs(block.attn.kv) + every  # the class token's
            per_token += every
        if self.volo.aux_head is not None:
            per_token += linear_macs(self.volo.aux_head)
        return HeadCost(fixed, per_token)

    def _coarse_grid(self, image_size: tuple[int, int]) -> Grid:
        """Return the grid of patches that the Transformer blocks see."""
        return output_grid(self.downsample.proj, self._fine_grid(image_size))

    def _fine_grid(self, image_size: tuple[int, int]) -> Grid:
        """Return the grid of patches that the outlookers see."""
        grid = image_size
        for convolution in _convolutions(self.volo.patch_embed):
            grid = output_grid(convolution, grid)
        return grid


def _masked_class_block(block: Any, x: Tensor, mask: Tensor) -> Tensor:
    """Run a ClassBlock on x (B, 1 + N, C) with `mask` (B, 1, 1, 1 + N) added to its logits."""
    attention, normed = block.attn, block.norm1(x)
    shape = (attention.num_heads, attention.head_dim)
    q = attention.q(normed[:, :1]).unflatten(-1, shape).transpose(1, 2)  # (B, H, 1, d)
    k, v = attention.kv(normed).unflatten(-1, (2, *shape)).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v, mask, scale=attention.scale)
    attended = attention.proj_drop(attention.proj(attended.transpose(1, 2).flatten(2)))
    first = x[:, :1] + block.drop_path1(attended)
    first = first + block.drop_path2(block.mlp(block.norm2(first)))
    return torch.cat([first, x[:, 1:]], dim=1)


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]


def _patch_size(volo: Any) -> int:
    """Return the side in pixels of the patches that the outlookers see."""
    side = 1
    for convolution in _convolutions(volo.patch_embed):
        side *= convolution.stride[0]
    return side


def _outlooker_macs(block: Any, grid: Grid) -> int:
    """Return the cost of an outlooker, whose windows get their weights from one linear layer."""
    attention = block.attn
    rows, columns = (-(-size // attention.stride) for size in grid)
    window = linear_macs(attention.attn) + attention.kernel_size**4 * attention.v.out_features
    others = linear_macs(block) - linear_macs(attention.attn)
    return int(rows * columns * window + grid[0] * grid[1] * others)


def _refusals(model: Any) -> Iterator[str | None]:
    """Yield a reason for each part of a VOLO that is of no known class, None for the others."""
    stages = list(model.network)
    yield class_refusal("the patch embedding", model.patch_embed, (PatchEmbed,))
    for index, stage in enumerate(stages):
        yield class_refusal(f"stage {index}", stage, (Downsample if index == 1 else nn.Sequential,))
    for block in stages[0]:
        yield class_refusal("a block of the first stage", block, (Outlooker,))
        yield class_refusal("an attention of the first stage", block.attn, (OutlookAttention,))
        yield class_refusal("an MLP of the first stage", block.mlp, (Mlp,))
    blocks = list(chain(*stages[2:]))
    for index, block in enumerate(blocks):
        yield class_refusal(f"block {index}", block, (Transformer,))
        yield class_refusal(f"the attention of block {index}", block.attn, (Attention,))
        yield class_refusal(f"the MLP of block {index}", block.mlp, (Mlp,))
    if len({block.attn.num_heads for block in blocks}) != 1:
        yield "Transformer blocks of different heads, or none, are not supported"
    posts = list(model.post_network)
    for post in posts:
        yield class_refusal("a block after the last", post, (ClassBlock,))
        yield class_refusal("the attention of a block after the last", post.attn, (ClassAttention,))
        yield class_refusal("the MLP of a block after the last", post.mlp, (Mlp,))
    yield uncounted_refusal(model)
    # the first stages are called as a whole, so hooks on them run; hooks on these would not
    yield altered_refusal((model, *stages[2:], *blocks, *posts))
