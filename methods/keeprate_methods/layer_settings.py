"""The settings of a pruning layer of Zero-TPrune, and the numbers that follow from them."""

from __future__ import annotations

from typing import Literal

Pattern = Literal["I'-S-I", "I'-S", "S-I", "I-S", "S", "I"]
Partition = Literal["sequential-u", "sequential-i", "alternate", "random", "none"]
Feature = Literal["key", "query", "value", "x_pre", "x"]
Similarity = Literal[
    "cosine",
    "dot",
    "manhattan",
    "euclidean",
    "minkowski-3",
    "minkowski-4",
    "minkowski-5",
    "chebyshev",
]


class LayerSettings:
    """The parameters of Zero-TPrune, which its docstring explains, as its layers read them."""

    pattern: Pattern
    iterations: tuple[int, ...]
    tolerance: float | None
    emphasis: Literal["every", "start", "none"]
    heads: Literal["rms", "mean", "max"]
    head_filter: bool
    v_min: float
    v_max: float
    partition: Partition
    feature: Feature
    feature_heads: Literal["concat", "mean"]
    similarity: Similarity
    s_removal: float
    renormalise: bool
    on_drop: Literal["drop", "skip", "mass", "merge"]
    seed: int
    scores_block_output: bool

    def removals(self, patches: int, keep: int) -> dict[str, int]:
        """Return how many of `patches` patch tokens the S- and the I-stage each remove."""
        removed, parts = patches - keep, self.pattern.split("-")
        if "S" not in parts:
            return {"I": removed}
        if "I" not in parts:
            return {"S": removed}
        number = removed * self.s_removal if self.s_removal < 1 else self.s_removal
        by_similarity = min(int(number), removed, self.most_similar(patches))
        if parts.index("I") < parts.index("S") and self.partition != "none":
            by_similarity = min(by_similarity, keep)  # at most half of what the I-stage leaves
        return {"S": by_similarity, "I": removed - by_similarity}

    def iterations_at(self, block: int, depth: int) -> int:
        """Return the page rank iterations after `block` of `depth`."""
        if len(self.iterations) == 1:
            return self.iterations[0]
        part = (4 * block >= depth) + (4 * block >= 3 * depth)
        return self.iterations[part]

    def most_similar(self, patches: int) -> int:
        """Return how many of `patches` patch tokens an S-stage alone can remove: group A."""
        return patches - 1 if self.partition == "none" else patches // 2
