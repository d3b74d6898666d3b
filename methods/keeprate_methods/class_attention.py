"""Class attention (Top-K): what the class token looks at stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Needs, Shape

from .skipping import MaySkip

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class ClassAttention(MaySkip):
    """Keep the patch tokens the class token attends to most (Top-K; EViT without its fused token).

    `on_drop`: drop the others, or let them skip blocks until before the head, and before the blocks
    of `back`. Source: Liang et al., "Not All Patches Are What You Need" (EViT), ICLR 2022.
    """

    name: ClassVar[str] = "class-attention"
    needs = Needs.CLASS_ROW
    requires_class_token: ClassVar[bool] = True

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the class row of the attention, averaged over heads (B, N)."""
        return attention.class_row.mean(dim=1)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the class query's product with every key, per head."""
        return shape.heads * shape.tokens * shape.head_dim
