"""Zero-TPrune: prune by weighted page rank on the attention graph, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import KeeprateError, Method, Needs, Place, Preset, Shape

from .layer_settings import Feature, LayerSettings, Partition, Pattern, Similarity

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens

MOST_STEPS = 10_000
"""More iterations change no ranking, and would never end."""


class ZeroTPrune(LayerSettings, Method):
    """Prune by weighted page rank on the attention graph, after thinning out similar tokens.

    A pruning layer between two blocks ranks the tokens (I'-stage), drops tokens most similar to a
    better one (S-stage) and then the least important of the rest (I-stage), from the attention of
    the block just run; no training. Source: Wang, Dedhia, Jha, "Zero-TPrune", CVPR 2024 (arXiv
    2305.17328).

    Parameters: `pattern` of the stages; `iterations` of the page rank in the first quarter, middle
    half and last quarter of the blocks (one number: everywhere), or a `tolerance` to stop at; class
    `emphasis` ("none" is the paper's Zero-TPrune-uni); aggregation of `heads` ("rms" is EIR) and
    `head_filter` (VHF) with its bounds; `partition`, `feature`, `feature_heads` and `similarity` of
    the S-stage; `s_removal`, the share (below 1) or number (from 1) of removed tokens that the
    S-stage removes, rounded down; `renormalise` rows of the restricted graph; `on_drop`: drop the
    token, let it "skip" all blocks until before the head, leave its "mass" (size) to the most
    similar kept one, or "merge" it; `seed` of random partitions.
    """

    name: ClassVar[str] = "zero-tprune"
    place = Place.AFTER_BLOCK
    needs = Needs.WEIGHTS
    default_blocks: ClassVar[tuple[int, ...]] = (1, 3, 5, 7, 9)
    presets: ClassVar[Mapping[str, Preset]] = {
        "paper-deit-s": Preset(
            "186@0,158@2,118@5,75@8,65@10",
            {"s_removal": 10.0},
            "unverified: the paper's DeiT-S setting as quoted from memory, for 196 patches",
        )
    }

    def __init__(  # noqa: PLR0913  every ablation of the paper is a parameter
        self,
        pattern: Pattern = "I'-S-I",
        iterations: tuple[int, ...] = (30, 5, 1),
        tolerance: float | None = None,
        emphasis: Literal["every", "start", "none"] = "every",
        heads: Literal["rms", "mean", "max"] = "rms",
        head_filter: bool = True,
        v_min: float = 0.01,
        v_max: float = 0.7,
        partition: Partition = "sequential-u",
        feature: Feature = "key",
        feature_heads: Literal["concat", "mean"] = "concat",
        similarity: Similarity = "cosine",
        s_removal: float = 0.5,
        renormalise: bool = True,
        on_drop: Literal["drop", "skip", "mass", "merge"] = "drop",
        seed: int = 0,
    ) -> None:
        if len(iterations) not in (1, 3) or not all(1 <= n <= MOST_STEPS for n in iterations):
            raise KeeprateError(
                f"iterations must be one number or three, each from 1 to {MOST_STEPS}"
            )
        if feature_heads == "mean" and feature.startswith("x"):
            raise KeeprateError(f"feature_heads=mean needs heads, which feature={feature} has not")
        if s_removal < 0:
            raise KeeprateError("s_removal must not be negative")
        if not isfinite(s_removal):
            raise KeeprateError("s_removal must be finite")
        if tolerance is not None and not tolerance > 0:
            raise KeeprateError("tolerance must be over 0")
        self.pattern, self.iterations, self.tolerance = pattern, iterations, tolerance
        self.emphasis, self.heads = emphasis, heads
        self.head_filter, self.v_min, self.v_max = head_filter, v_min, v_max
        self.partition, self.similarity = partition, similarity
        self.feature, self.feature_heads = feature, feature_heads
        self.s_removal, self.renormalise = s_removal, renormalise
        self.on_drop, self.seed = on_drop, seed
        self.skips, self.proportional_attention = on_drop == "skip", on_drop in ("mass", "merge")
        self.scores_block_output = feature == "x"
        self.needs = Needs.KEYS if pattern == "S" else Needs.WEIGHTS

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return scores (B, N): minus infinity for tokens that go, importance for the others."""
        from .pruning_layer import layer_score

        return layer_score(self, tokens, attention, stage)

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Keep what the layer kept, and treat the rest as `on_drop` says."""
        from .pruning_layer import absorb

        if self.on_drop in ("drop", "skip"):
            return tokens.keep_top(attention.score, stage.keep)
        return absorb(self, tokens, attention, stage)

    def importance(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor | None:
        """Return the graph signal (B, N) of all tokens that enter the layer, heads combined.

        None where the S-stage is alone: it ranks at random and looks at no graph.
        """
        from .pruning_layer import Layer

        if self.pattern == "S":
            return None
        iterations = self.iterations_at(stage.block, stage.depth)
        layer = Layer(self, tokens, attention, stage)
        return layer.importance(iterations, self.tolerance, scaled=True)

    def signals(
        self, tokens: Tokens, attention: Attention, stage: Stage, iterations: Sequence[int]
    ) -> Tensor:
        """Return every head's graph signal (T, B, H, N) on all tokens, in float64.

        So rounding is not taken for change.
        """
        from .page_rank import page_rank_after
        from .pruning_layer import emphasis_on

        return page_rank_after(attention.weights.double(), iterations, emphasis_on(self, tokens))

    def combined(self, tokens: Tokens, signal: Tensor) -> Tensor:
        """Return one score per token (B, N) from the heads' `signal` (B, H, N)."""
        from .pruning_layer import combined

        return combined(self, signal, tokens.num_prefix, tokens.num_patch_tokens)

    def most_removed(self, patches: int) -> int:
        """Return all but one, or group A where the S-stage alone removes."""
        return patches - 1 if "I" in self.pattern.split("-") else self.most_similar(patches)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count page rank steps, similarities and, where tokens are absorbed, their sums.

        With a tolerance the iterations are counted at their upper bound.
        """
        from .overhead import layer_macs

        return layer_macs(self, shape, stage)
