"""Norm: the length of a token's embedding, value or key decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import Method, Needs

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class Norm(Method):
    """Keep the patch tokens with the longest embeddings or values, or the shortest keys.

    A baseline without a paper that needs no attention matrix. `feature` is x, the embedding after
    the attention's residual, or the value or key of the block, heads concatenated. `keep` high
    keeps the longest, low the shortest, and usual the longest of x and value and the shortest of
    key. Large models without registers hold global information in a few patch tokens of very large
    norm: high always keeps those, low loses them.
    """

    name: ClassVar[str] = "norm"

    def __init__(
        self,
        feature: Literal["x", "value", "key"] = "x",
        keep: Literal["usual", "high", "low"] = "usual",
    ) -> None:
        self.feature = feature
        self.keep = keep
        self.needs = Needs.NOTHING if feature == "x" else Needs.KEYS
        self.scores_block_output = feature == "x"

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the norms (B, N) of the feature, with a minus where the shortest stay."""
        import torch

        from keeprate.tokens import at_least_float32

        if self.feature == "x":
            feature = tokens.x
        else:
            heads = attention.v if self.feature == "value" else attention.k  # (B, H, N, d)
            feature = heads.transpose(1, 2).flatten(2)
        # squares of half precision would overflow
        exact = at_least_float32(feature.dtype)
        norm: Tensor = torch.linalg.vector_norm(feature, dim=-1, dtype=exact)
        short = self.keep == "low" or (self.keep == "usual" and self.feature == "key")
        return -norm if short else norm
