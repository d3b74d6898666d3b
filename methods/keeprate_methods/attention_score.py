"""Plain attention score: what is attended to stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Needs, Shape

from .skipping import MaySkip

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class AttentionScore(MaySkip):
    """Keep the patch tokens that receive most attention (column mean of the attention matrix).

    Equals one iteration of weighted page rank from a uniform start, heads averaged. `on_drop`: drop
    the others, or let them skip blocks until before the head, and before the blocks of `back`.
    """

    name: ClassVar[str] = "attention-score"
    needs = Needs.WEIGHTS

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the column means (B, N) over heads and queries."""
        return attention.weights.mean(dim=(1, 2))

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the column sums: a product of the matrix with a vector of ones, per head."""
        return shape.heads * shape.tokens**2
