"""ToFu: prune the most similar tokens in the first blocks, fuse them in the later ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import KeeprateError, Method, Needs, Shape

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens


class ToFu(Method):
    """Drop the most similar patch tokens in the first blocks, and fuse them in the later ones.

    Tokens are matched as ToMe does it. In the first `prune_blocks` blocks (half of all by default)
    the matched tokens of set A vanish; after these, each target takes the mean of itself and its
    sources, made as long as the longest of them ("mlerp"), or the mean itself ("average"). Means do
    not count sizes, and there is no proportional attention. Source: Kim, Gao, Hsu, Shen, Jin,
    "Token Fusion", WACV 2024, section 3 and MLERP (arXiv 2312.01026).

    The authors published no code. `norm="repository"` is what PiToMe's repository compares with as
    ToFu: the mean is divided by the length of the token merged into, not by its own, and one block
    more prunes by default.
    """

    name: ClassVar[str] = "tofu"
    needs = Needs.KEYS
    default_schedule: ClassVar[str] = "r"

    def __init__(
        self,
        prune_blocks: int | None = None,
        fusion: Literal["mlerp", "average"] = "mlerp",
        norm: Literal["paper", "repository"] = "paper",
    ) -> None:
        if prune_blocks is not None and prune_blocks < 0:
            raise KeeprateError("prune_blocks must not be negative")
        self.prune_blocks, self.fusion, self.norm = prune_blocks, fusion, norm

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Drop or fuse until `stage.keep` patch tokens are left; at most half of them go."""
        from .matching import bipartite_match
        from .merging import means, merged, mlerp

        removed = tokens.num_patch_tokens - stage.keep
        match = bipartite_match(attention.k.mean(dim=1), tokens.num_prefix, removed)
        if self.prunes(stage):
            return tokens.keep(match.order)
        if self.fusion == "average":
            return merged(tokens, match, means(tokens.x, match))
        return merged(tokens, match, mlerp(tokens.x, match, by_target=self.norm == "repository"))

    def prunes(self, stage: Stage) -> bool:
        """Tell whether tokens vanish at this stage; if not, they fuse."""
        if self.prune_blocks is not None:
            return stage.block < self.prune_blocks
        return stage.block < stage.depth // 2 + (self.norm == "repository")

    def most_removed(self, patches: int) -> int:
        """Return half of the patch tokens: only set A can go."""
        return patches // 2

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the similarities of set A with set B and, where tokens fuse, their sums."""
        from .matching import matching_macs

        fused = 0 if self.prunes(stage) else shape.patches - stage.keep
        return matching_macs(shape) + fused * shape.channels
