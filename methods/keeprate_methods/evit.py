"""EViT: Top-K by class attention, and one token that fuses the rest."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import Shape

from .class_attention import ClassAttention

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens


class EViT(ClassAttention):
    """Keep what the class token attends to most, and fuse the other patch tokens into one.

    The fused token is the sum of the dropped tokens, each times the class token's attention to it
    (not divided by the sum of these), and stands behind the others; at the next stage it competes
    with them. Without `fuse` it is Top-K, `class-attention`. Source: Liang et al., "Not All Patches
    Are What You Need" (EViT), ICLR 2022, section 3.

    `count` says what a keep rate is a share of: ceil, as the authors' code, of the tokens that
    enter the stage, the fused token among them, rounded up; product, as Haurum et al. ("Which
    Tokens to Use?", ICCVW 2023), of the patches, by all rates so far, rounded down. Unlike in the
    authors' code, distillation tokens and registers are neither ranked nor fused.
    """

    name: ClassVar[str] = "evit"

    def __init__(self, fuse: bool = True, count: Literal["ceil", "product"] = "ceil") -> None:
        self.fuse = fuse
        self.count = count
        self.appends = 1 if fuse else 0

    def kept_at_rate(self, entering: int, rate: float) -> int | None:
        """Return the share of the tokens that enter, rounded up; None where all rates count."""
        return ceil(rate * entering) if self.count == "ceil" else None

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return prefix tokens, the `stage.keep` best patch tokens and the fused one."""
        from keeprate.tokens import at_least_float32, take_rows

        if not self.fuse:
            return super().reduce(tokens, attention, stage)
        _, gone = tokens.top(attention.score, stage.keep)
        exact = at_least_float32(tokens.x.dtype)
        weight = attention.score.gather(1, gone).to(exact)  # (B, R)
        fused = (weight[:, None] @ take_rows(tokens.x, gone).to(exact))[:, 0]  # (B, C)
        # the fused token takes the place of the best of them, where a model looks places up
        best_first = weight.argsort(dim=1, descending=True, stable=True)
        return tokens.append(gone.gather(1, best_first), fused.to(tokens.x.dtype))

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the class query's product with every key, per head, and the weighted sum."""
        fused = (shape.patches - stage.keep) * shape.channels if self.fuse else 0
        return super().overhead_macs(shape, stage) + fused
