"""Run the blocks of timm's VisionTransformer half by half; NaFlexVit has the same blocks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

import timm.layers
import torch
from timm.layers.attention import Attention
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.models import vision_transformer
from timm.models.vision_transformer import (
    Block,
    ParallelScalingBlock,
    ParallelThingsBlock,
    ResPostBlock,
)
from timm.models.vitamin import GeGluMlp
from torch import Tensor, nn

from ...backbone import BlockCost
from ...method import Place
from ...tokens import Tokens
from .isotropic import TimmColumn, class_refusal, linear_macs

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

# timm has had these since 1.0.23: imported by name, an older version would fail
_DIFF_ATTENTION = getattr(timm.layers, "DiffAttention", None)
_DIFF_BLOCK = getattr(vision_transformer, "DiffParallelScalingBlock", None)
_ATTENTIONS = tuple(filter(None, (Attention, _DIFF_ATTENTION)))
_MLPS = (Mlp, GluMlp, SwiGLU, GeGluMlp)


@dataclass(frozen=True)
class Heads:
    """The heads that methods see in a block, of all its attention maps side by side.

    `per_pair` is the number of multiply-accumulates of all heads for each (query, key) pair.
    """

    count: int
    channels: int
    maps: int
    per_pair: int

    @classmethod
    def of(cls, attention: Any) -> Heads:
        """Return the heads of an attention, or of a block that computes its own."""
        heads, channels = attention.num_heads, attention.head_dim
        if type(attention) in (_DIFF_ATTENTION, _DIFF_BLOCK):
            values = 2 * channels  # each map attends to the values of both maps
            return cls(2 * heads, channels, maps=2, per_pair=2 * heads * (channels + values))
        return cls(heads, channels, maps=1, per_pair=2 * heads * channels)


class BlockRunner(ABC):
    """Runs one block in two halves by calling its own modules, and knows what they cost."""

    places: ClassVar[frozenset[Place]] = frozenset(Place)

    def __init__(self, block: Any) -> None:
        self.block = block

    @staticmethod
    @abstractmethod
    def parts_refusal(where: str, block: Any) -> str | None:
        """Return that the attention or MLP of a block is of no known class; `where` names it."""

    @abstractmethod
    def heads(self) -> Heads:
        """Return the block's heads."""

    @abstractmethod
    def attend(self, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run the first half, residual included, and return (B, N, C)."""

    @abstractmethod
    def feed_forward(self, x: Tensor) -> Tensor:
        """Run the second half, residual included, on x (B, N, C)."""

    @abstractmethod
    def projections(self) -> tuple[int, int]:
        """Return what the linear layers of attention and MLP cost per token.

        The cost of a layer that both share is split between them.
        """


class _PreNorm(BlockRunner):
    """Attention, then MLP, each with its norm before it."""

    @staticmethod
    def parts_refusal(where: str, block: Any) -> str | None:
        return class_refusal(f"the attention of {where}", block.attn, _ATTENTIONS) or class_refusal(
            f"the MLP of {where}", block.mlp, _MLPS
        )

    def heads(self) -> Heads:
        return Heads.of(self.block.attn)

    def attend(self, tokens: Tokens, reader: AttentionReader) -> Tensor:
        b, x = self.block, tokens.x
        x_pre = b.norm1(x)
        with reader.around(x_pre, b.attn):
            attended = b.attn(x_pre)
        return cast(Tensor, x + b.drop_path1(b.ls1(attended)))

    def feed_forward(self, x: Tensor) -> Tensor:
        b = self.block
        return cast(Tensor, x + b.drop_path2(b.ls2(b.mlp(b.norm2(x)))))

    def projections(self) -> tuple[int, int]:
        return linear_macs(self.block.attn), linear_macs(self.block.mlp)


class _PostNorm(_PreNorm):
    """Attention, then MLP, each with its norm after it."""

    def attend(self, tokens: Tokens, reader: AttentionReader) -> Tensor:
        b, x = self.block, tokens.x
        with reader.around(x, b.attn):
            attended = b.attn(x)
        return cast(Tensor, x + b.drop_path1(b.norm1(attended)))

    def feed_forward(self, x: Tensor) -> Tensor:
        b = self.block
        return cast(Tensor, x + b.drop_path2(b.norm2(b.mlp(x))))


class _SideBySide(BlockRunner):
    """Attention and MLP share their projections, so that the first half is the whole block."""

    places = frozenset({Place.BEFORE_BLOCK, Place.AFTER_BLOCK})

    @staticmethod
    def parts_refusal(where: str, block: Any) -> str | None:
        return None

    def heads(self) -> Heads:
        return Heads.of(self.block)

    def attend(self, tokens: Tokens, reader: AttentionReader) -> Tensor:
        b, x = self.block, tokens.x
        # the block computes its norm itself: here it is only needed to show it to a method
        x_pre = x if reader.method is None else b.in_norm(x)
        with reader.around(x_pre, b):
            return cast(Tensor, b(x))

    def feed_forward(self, x: Tensor) -> Tensor:
        return x

    def projections(self) -> tuple[int, int]:
        # in_proj makes the hidden channels and q, k, v; the MLP's output layer is as wide again
        mlp = 2 * self.block.in_split[0] * self.block.in_proj.in_features
        return linear_macs(self.block) - mlp, mlp


class _Branches(BlockRunner):
    """The sum of several attentions, then the sum of several MLPs; each branch has its own norm.

    Methods see the heads of all branches. The input of the projections of q, k and v differs
    between the branches: methods see that of the first branch.
    """

    @staticmethod
    def parts_refusal(where: str, block: Any) -> str | None:
        what = f"an attention of {where}", f"an MLP of {where}"
        reasons = [class_refusal(what[0], branch.attn, (Attention,)) for branch in block.attns]
        reasons += [class_refusal(what[1], branch.mlp, _MLPS) for branch in block.ffns]
        return next(filter(None, reasons), None)

    def heads(self) -> Heads:
        branches = [Heads.of(branch.attn) for branch in self.block.attns]
        return Heads(
            count=sum(heads.count for heads in branches),
            channels=branches[0].channels,
            maps=len(branches),
            per_pair=sum(heads.per_pair for heads in branches),
        )

    def attend(self, tokens: Tokens, reader: AttentionReader) -> Tensor:
        attentions, x = self.block.attns, tokens.x
        # the branch computes its norm itself: here it is only needed to show it to a method
        x_pre = x if reader.method is None else attentions[0].norm(x)
        with reader.around(x_pre, attentions):
            return x + _sum_branches(attentions, x)

    def feed_forward(self, x: Tensor) -> Tensor:
        return x + _sum_branches(self.block.ffns, x)

    def projections(self) -> tuple[int, int]:
        return linear_macs(self.block.attns), linear_macs(self.block.ffns)


_RUNNERS: dict[type[nn.Module], type[BlockRunner]] = {
    Block: _PreNorm,
    ResPostBlock: _PostNorm,
    ParallelScalingBlock: _SideBySide,
    ParallelThingsBlock: _Branches,
} | ({} if _DIFF_BLOCK is None else {_DIFF_BLOCK: _SideBySide})


class TimmStack(TimmColumn):
    """The shared part of families whose blocks are those of timm's VisionTransformer."""

    def _size_heads(self) -> None:
        self.runners = [_RUNNERS[type(block)](block) for block in self.blocks]
        heads = self.runners[0].heads()  # `refusal` has checked that all blocks have the same
        self.heads, self.head_dim, self.maps = heads.count, heads.channels, heads.maps
        self.places = self.runners[0].places

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm and residual, or the whole of a block in one piece."""
        return self.runners[block].attend(tokens, reader)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm and residual, unless `attend` has run the whole block."""
        return self.runners[block].feed_forward(x)

    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs, read off its linear layers."""
        runner = self.runners[block]
        attention, mlp = runner.projections()
        return BlockCost(attention, runner.heads().per_pair, mlp)


def blocks_refusal(blocks: Iterable[nn.Module]) -> str | None:
    """Return which block is of no known class, or that their heads differ; None if neither."""
    kinds = set()
    for index, block in enumerate(blocks):
        block_refusal = class_refusal(f"block {index}", block, tuple(_RUNNERS))
        if block_refusal is not None:
            return block_refusal
        runner = _RUNNERS[type(block)]
        parts_refusal = runner.parts_refusal(f"block {index}", block)
        if parts_refusal is not None:
            return parts_refusal
        # methods see one number of heads and one set of places for the whole model
        kinds.add((runner.places, runner(block).heads()))
    return "blocks whose heads differ are not supported" if len(kinds) > 1 else None


def _sum_branches(branches: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Return the sum of the outputs of the branches on x (B, N, C)."""
    # stacked and summed as timm does it: another order would round differently
    return torch.stack([branch(x) for branch in branches]).sum(dim=0)
