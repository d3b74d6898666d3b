"""timm's PiT: three stages with a convolution between them; tokens are reduced in the last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, cast

import torch
from timm.models.pit import ConvEmbedding, Pooling, PoolingVisionTransformer, Transformer
from torch import Tensor, nn

from ...backbone import HeadCost
from ...tokens import Tokens
from ..patch_grid import Grid, convolution_macs, output_grid
from .blocks import TimmStack, blocks_refusal
from .isotropic import altered_refusal, class_refusal, linear_macs, uncounted_refusal


class TimmPiT(TimmStack):
    """Pooling-based Vision Transformers of timm, with class token or class and distillation token.

    The convolutions between stages need a whole grid of patches, so tokens are reduced only in the
    blocks of the last stage: these are the blocks 0, 1, ... of a schedule.
    """

    name: ClassVar[str] = "timm-pit"

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not PoolingVisionTransformer:
            inherits = isinstance(model, PoolingVisionTransformer)
            return "a subclass of PoolingVisionTransformer may compute otherwise" * inherits
        if model.global_pool != "token":
            return f"pooling '{model.global_pool}' is not supported (known: token)"
        return next(filter(None, _refusals(model)), None)

    def _own_blocks(self) -> list[Any]:
        return list(self.vit.transformers[-1].blocks)

    def _own_prefix(self) -> int:
        return int(self.vit.num_tokens)

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the last stage's first block."""
        *earlier, last = self.vit.transformers
        x = self.vit.patch_embed(images)  # (B, C, H, W)
        x = self.vit.pos_drop(x + self.vit.pos_embed)
        prefix = self.vit.cls_token.expand(len(x), -1, -1)
        for stage in earlier:
            x, prefix = stage((x, prefix))
        if last.pool is not None:
            x, prefix = last.pool(x, prefix)
        return cast(Tensor, last.norm(torch.cat([prefix, x.flatten(2).transpose(1, 2)], dim=1)))

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K), which depend on the prefix tokens alone."""
        prefix = self.vit.norm(tokens.x[:, : self.num_prefix])
        return cast(Tensor, self.vit.forward_head(prefix))

    def _patches(self, image_size: tuple[int, int]) -> Grid:
        """Return the rows and columns of patches in the last stage."""
        return self._grids(image_size)[-1]

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the cost of all convolutions, and of the blocks of the earlier stages."""
        stages, grids = self.vit.transformers, self._grids(image_size)
        macs = convolution_macs(self.vit.patch_embed.conv, grids[0])
        for stage, (rows, columns) in zip(stages[:-1], grids[:-1], strict=True):
            tokens = self.num_prefix + rows * columns
            macs += sum(_block_macs(block, tokens) for block in stage.blocks)
        for stage, grid in zip(stages[1:], grids[1:], strict=True):
            pool = stage.pool
            # the prefix tokens are widened by a linear layer of their own
            macs += convolution_macs(pool.conv, grid) + self.num_prefix * linear_macs(pool.fc)
        return macs

    def head_cost(self) -> HeadCost:
        """Return what the linear heads cost."""
        heads = self.vit.head, self.vit.head_dist or nn.Identity()
        return HeadCost(sum(linear_macs(head) for head in heads))

    def _grids(self, image_size: tuple[int, int]) -> list[Grid]:
        """Return the grid of patches of each stage."""
        grids = [output_grid(self.vit.patch_embed.conv, image_size)]
        for stage in self.vit.transformers[1:]:
            grids.append(output_grid(stage.pool.conv, grids[-1]))
        return grids


def _block_macs(block: Any, tokens: int) -> int:
    pair = 2 * block.attn.num_heads * block.attn.head_dim
    return tokens * linear_macs(block) + tokens**2 * int(pair)


def _refusals(model: Any) -> Iterator[str | None]:
    """Yield a reason for each part of a PiT that is of no known class, None for the others."""
    yield class_refusal("the patch embedding", model.patch_embed, (ConvEmbedding,))
    for index, stage in enumerate(model.transformers):
        yield class_refusal(f"stage {index}", stage, (Transformer,))
        pools = (Pooling,) if index else (type(None),)  # nothing is pooled before the first stage
        yield class_refusal(f"the pooling before stage {index}", stage.pool, pools)
        reason = blocks_refusal(stage.blocks)
        yield reason and f"in stage {index}, {reason}"
    last = model.transformers[-1]
    yield uncounted_refusal(model)
    # the earlier stages are called as a whole, so hooks on them run; hooks on these would not
    yield altered_refusal((model, model.transformers, last, last.blocks, *last.blocks))
