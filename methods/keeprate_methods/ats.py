"""ATS: sample tokens from their attention, as many as there are different samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import Method, Needs, Place, Reuse, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class ATS(Method):
    """Sample patch tokens by inverse transform of their significance; equal samples are one token.

    Significance is class attention times the norm of the value. `stage.keep` points are laid over
    the cumulative significance, and the token nearest to each is kept, so that images keep
    different numbers: fewer where significance is concentrated. Only the sampled tokens attend, to
    the keys and values of all. On a GPU each stage waits for the device once, to learn how many
    tokens are left at most. Source: Fayyaz et al., "Adaptive Token Sampling", ECCV 2022 (arXiv
    2111.15667).

    Two algorithms bear the name. `sampler=authors` sums in ascending order of significance, with
    values normed over all heads together, and adds 1e-6 to the attention's softmax in every block.
    `sampler=by-position` is that of Haurum et al. ("Which Tokens to Use?", ICCVW 2023): in the
    order of positions, with values normed per head, and an unchanged softmax.
    """

    name: ClassVar[str] = "ats"
    needs = Needs.WEIGHTS
    place = Place.BEFORE_BLOCK
    reuses = Reuse.VALUES
    requires_class_token: ClassVar[bool] = True
    keeps_per_image: ClassVar[bool] = True

    def __init__(self, sampler: Literal["authors", "by-position"] = "authors") -> None:
        self.sampler = sampler
        self.reweighs = sampler == "authors"

    def reweigh(self, weights: Tensor, tokens: Tokens) -> Tensor:
        """Return the softmax with 1e-6 added to its denominator, spread over all keys."""
        from .sampling import softened

        return softened(weights, tokens)

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return class attention times the norm of the value (B, N)."""
        import torch

        from keeprate.tokens import at_least_float32

        exact = at_least_float32(attention.v.dtype)
        row, value = attention.class_row.to(exact), attention.v
        if self.sampler == "by-position":
            norm: Tensor = torch.linalg.vector_norm(value, dim=-1, dtype=exact)
            return (row * norm).sum(dim=1)
        norm = torch.linalg.vector_norm(value, dim=(1, 3), dtype=exact)
        return row.sum(dim=1) * norm

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Keep the tokens sampled at `stage.keep` points, and let only them attend."""
        import torch

        from .sampling import by_position, by_significance, chosen

        prefix = tokens.num_prefix
        alive = torch.ones_like(tokens.size, dtype=torch.bool)
        alive = (alive if tokens.valid is None else tokens.valid)[:, prefix:]
        sample = by_significance if self.sampler == "authors" else by_position
        sampled = sample(attention.score[:, prefix:], alive, stage.keep)
        index, valid = chosen(sampled, prefix)
        weights = attention.weights
        rows = index[:, None, :, None].expand(-1, weights.shape[1], -1, weights.shape[3])
        return tokens.keep(index, valid).reuse(weights.gather(2, rows), attention.v)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the squares of the values' norms."""
        return shape.tokens * shape.heads * shape.head_dim
