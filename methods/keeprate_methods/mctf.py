"""MCTF: fuse tokens by similarity, informativeness and size, one block ahead."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import Method, Needs, Place, Preset, Reuse, Shape

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens

Criteria = Literal["all", "similarity", "similarity+attention", "similarity+size"]


class MCTF(Method):
    """Fuse the patch tokens that are alike, receive little attention and are small.

    Before a block, with the attention that the block would compute: half of the tokens to remove
    are even tokens that fuse into odd ones, half odd ones into even ones (`ways=one`: all even). A
    fused token is the mean of its tokens, weighted by the attention they receive times their sizes
    (`pooling=size`: by sizes). The block attends with the attention of the fused tokens: columns
    added, rows averaged (`ahead=precise`: computed anew; `ahead=none`: tokens fuse after the
    block). Prefix tokens, of which the authors have one, take no part. Source: Lee et al.,
    "Multi-criteria Token Fusion with One-step-ahead Attention", CVPR 2024 (arXiv 2403.10030).
    """

    name: ClassVar[str] = "mctf"
    needs = Needs.WEIGHTS
    place = Place.BEFORE_BLOCK
    reuses = Reuse.WEIGHTS
    default_schedule: ClassVar[str] = "r"
    presets: ClassVar[dict[str, Preset]] = {
        "mctf-12": Preset("r=0,16,16,16,16,16,16,16,16,16,16,16", note="12 blocks, 196 patches")
    }

    def __init__(
        self,
        criteria: Criteria = "all",
        ways: Literal["two", "one"] = "two",
        pooling: Literal["attention", "size"] = "attention",
        ahead: Literal["approximate", "precise", "none"] = "approximate",
        proportional_attention: bool = True,
    ) -> None:
        self.criteria, self.ways, self.pooling, self.ahead = criteria, ways, pooling, ahead
        self.proportional_attention = proportional_attention
        self.place = Place.AFTER_BLOCK if ahead == "none" else Place.BEFORE_BLOCK
        self.reuses = Reuse.WEIGHTS if ahead == "approximate" else Reuse.NOTHING
        if not self._looks:
            self.needs = Needs.NOTHING

    @property
    def _looks(self) -> bool:
        """Whether anything depends on the attention."""
        informed = self.criteria in ("all", "similarity+attention")
        return informed or self.pooling == "attention" or self.reuses is Reuse.WEIGHTS

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Fuse until `stage.keep` patch tokens are left; at most half of them go at once."""
        import torch

        from keeprate.tokens import at_least_float32

        from .two_way import (
            criteria,
            fused_attention,
            fused_positions,
            shares,
            two_way_match,
            weighted_means,
        )

        exact = at_least_float32(tokens.x.dtype)
        x, size = tokens.x.to(exact), tokens.size.to(exact)
        received = torch.ones_like(size)
        if self._looks:
            received = attention.weights.mean(dim=(1, 2), dtype=exact)  # (B, N), per key
            # half precision may hold no weight that a key receives
            received = received.clamp_min(torch.finfo(exact).tiny)
        informed = received if self.criteria in ("all", "similarity+attention") else None
        sized = size if self.criteria in ("all", "similarity+size") else None
        removed = tokens.num_patch_tokens - stage.keep
        from_even = removed if self.ways == "one" else removed // 2
        fitness = criteria(x, informed, sized)
        match = two_way_match(fitness, tokens.num_prefix, from_even, removed - from_even)
        kept, position = match.order.shape[1], fused_positions(match)
        weight = size if self.pooling == "size" else received * size
        share = shares(weight, position, kept)
        fused = weighted_means(x, share, position, kept).to(tokens.x.dtype)
        merged = tokens.merge(match.source, match.into, match.order, average=False).with_x(fused)
        if self.reuses is Reuse.NOTHING:
            return merged
        return merged.reuse(fused_attention(attention.weights, share, position, kept))

    def most_removed(self, patches: int) -> int:
        """Return half of the patch tokens: each fuses with one of the other half."""
        return patches // 2

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count similarities, means, and sums of the attention, without those of the look ahead."""
        even = (shape.tokens + 1) // 2
        left = stage.keep + shape.prefix
        spent = even * (shape.tokens - even) * shape.channels
        spent += (shape.patches - stage.keep) * shape.channels
        if self._looks:
            spent += shape.heads * shape.tokens**2
        if self.reuses is Reuse.WEIGHTS:
            spent += shape.heads * shape.tokens * (shape.tokens + left)
        return spent
