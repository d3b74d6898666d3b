"""ATC: merge tokens by agglomerative clustering."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import Method, Needs, Shape

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens


class ATC(Method):
    """Merge patch tokens by agglomerative clustering of their keys.

    The two clusters nearest to each other (1 - cosine of the keys, averaged over heads, by
    `linkage`) merge until as many are left as are to be kept; each becomes the size-weighted mean
    of its tokens. Source: Haurum, Escalera, Taylor, Moeslund, "Agglomerative Token Clustering",
    ECCV 2024 (arXiv 2409.11923).

    With `keep` at blocks 3, 6, 9 it is the authors' staged variant, with `r` the one that acts in
    every block, where `r` tokens go (in the authors' code r - 1, because it counts the class
    token). Without `size_weighted`, means forget how many patches a token stands for, as the
    authors' staged code does where its proportional attention is off. Clustering runs on the
    processor, in SciPy.
    """

    name: ClassVar[str] = "atc"
    needs = Needs.KEYS
    default_schedule: ClassVar[str] = "r"

    def __init__(
        self,
        linkage: Literal["average", "complete", "single"] = "average",
        proportional_attention: bool = True,
        size_weighted: bool = True,
    ) -> None:
        self.linkage, self.size_weighted = linkage, size_weighted
        self.proportional_attention = proportional_attention

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Merge until `stage.keep` clusters of patch tokens are left."""
        from .clustering import agglomerate
        from .merging import match_of, means, merged
        from .similarity import patch_keys

        into = agglomerate(patch_keys(tokens, attention), stage.keep, self.linkage)
        match = match_of(into, tokens.num_prefix, stage.keep)
        if self.size_weighted:
            return tokens.merge(match.source, match.into, match.order)
        return merged(tokens, match, means(tokens.x, match))

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the similarities of all patch tokens and the merged tokens' sums."""
        merged = shape.patches - stage.keep
        return shape.patches**2 * shape.head_dim + merged * shape.channels
