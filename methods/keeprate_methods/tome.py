"""ToMe: merge the most similar tokens, block after block."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import Method, Needs, Shape

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens


class ToMe(Method):
    """Merge the most similar patch tokens by bipartite soft matching (Token Merging).

    Every other token picks its most similar partner (cosine of the keys, averaged over heads); the
    best-matched pairs merge by size-weighted mean. With `proportional_attention` log(token size) is
    added to the attention logits. Source: Bolya et al., "Token Merging: Your ViT But Faster", ICLR
    2023, sections 3.2-3.3 (arXiv 2210.09461).
    """

    name: ClassVar[str] = "tome"
    needs = Needs.KEYS
    default_schedule: ClassVar[str] = "r"

    def __init__(self, proportional_attention: bool = True) -> None:
        self.proportional_attention = proportional_attention

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Merge until `stage.keep` patch tokens are left; at most half of them go at once."""
        from .matching import bipartite_pairs

        metric = attention.k.mean(dim=1)  # (B, N, d)
        removed = tokens.num_patch_tokens - stage.keep
        pairs = bipartite_pairs(metric, tokens.num_prefix, removed)
        return tokens.merge_to(pairs.place(), pairs.kept, pairs.order)

    def most_removed(self, patches: int) -> int:
        """Return half of the patch tokens: only set A can merge away."""
        return patches // 2

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the similarities of set A with set B and the merged tokens' weighted sums."""
        from .matching import matching_macs

        return matching_macs(shape) + (shape.patches - stage.keep) * shape.channels
