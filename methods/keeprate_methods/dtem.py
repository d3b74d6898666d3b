"""DTEM: Token Merging by a trained embedding of the tokens."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from keeprate import Needs, Place, Shape

from .trained import Trained

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens


class DTEM(Trained):
    """Merge the patch tokens that are alike in an embedding that was trained for merging.

    As `tome`, but tokens are compared by a linear map of what the block's queries, keys and values
    are projected from, and not by the keys. `weights` holds the maps of all blocks, `0.weight` and
    `0.bias` on; they are evaluated only. The authors add log(token size) to the attention logits,
    but not for models of MAE: `proportional_attention=false`. Source: Lee and Hong, "Learning to
    Merge Tokens via Decoupled Embedding for Efficient Vision Transformers", NeurIPS 2024 (arXiv
    2412.10569).
    """

    name: ClassVar[str] = "dtem"
    place = Place.AFTER_ATTENTION
    needs = Needs.KEYS
    default_schedule: ClassVar[str] = "r"
    default_blocks: ClassVar[tuple[int, ...]] = (3, 6, 9)
    weights_prefix: ClassVar[str] = ""
    shapes: ClassVar[Mapping[str, str]] = {"weight": "a C", "bias": "a"}

    def __init__(self, weights: Path | None = None, proportional_attention: bool = True) -> None:
        super().__init__(weights)
        self.proportional_attention = proportional_attention

    def layer_of(self, stage: Stage) -> int:
        """Return the number of the block: each has a map."""
        return stage.block

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Merge until `stage.keep` patch tokens are left; at most half of them go at once."""
        from .layers import linear
        from .matching import bipartite_pairs

        layer = self.layer(stage, tokens.x)
        metric = linear(attention.x_pre.to(layer["weight"].dtype), layer, "")  # (B, N, a)
        removed = tokens.num_patch_tokens - stage.keep
        pairs = bipartite_pairs(metric, tokens.num_prefix, removed)
        return tokens.merge_to(pairs.place(), pairs.kept, pairs.order)

    def most_removed(self, patches: int) -> int:
        """Return half of the patch tokens: only set A can merge away."""
        return patches // 2

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the embedding, the similarities of set A with set B, and the merged tokens."""
        from .matching import matching_macs

        width = self.sizes(stage)["a"]
        embedding = shape.tokens * width * shape.channels
        merged = (shape.patches - stage.keep) * shape.channels
        return embedding + matching_macs(shape, width) + merged
