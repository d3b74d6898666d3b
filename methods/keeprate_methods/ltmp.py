"""LTMP with constant thresholds: as many tokens as each image needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import KeeprateError, Method, Needs, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class LTMP(Method):
    """Merge the patch tokens that are more alike than `merge`, and prune those below `prune`.

    Every other token picks its most similar partner, as in ToMe, and merges into it if their cosine
    is above `merge`. A token goes if its importance, the mean attention that it receives, is at
    most `prune`, but for the most important one; a merged token has the largest importance of its
    tokens. Images keep different numbers of tokens, to learn which each stage waits for a GPU once:
    the schedule says at which blocks (`r=0`: at all) and how many at most, of which the most
    important stay. Class token, distillation token and registers neither merge nor go. Source:
    Bonnaerens & Dambre, "Learned Thresholds Token Merging and Pruning", TMLR 2023 (arXiv
    2307.10780), whose thresholds are learned for each block; here they are constant, and
    nothing is trained.
    """

    name: ClassVar[str] = "ltmp"
    needs = Needs.WEIGHTS
    keeps_per_image: ClassVar[bool] = True
    default_schedule: ClassVar[str] = "r"
    proportional_attention = True

    def __init__(self, merge: float = 0.8, prune: float = 0.0) -> None:
        if not -1 <= merge <= 1:
            raise KeeprateError("merge is a cosine, from -1 to 1")
        if prune < 0:
            raise KeeprateError("prune must not be negative")
        self.merge, self.prune = merge, prune

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the mean attention that each token receives, over heads and queries (B, N)."""
        import torch

        from keeprate.tokens import at_least_float32

        exact = at_least_float32(tokens.x.dtype)
        if tokens.valid is None:
            return attention.weights.mean(dim=(1, 2), dtype=exact)
        asked = attention.weights * tokens.valid[:, None, :, None]
        total: Tensor = asked.sum(dim=(1, 2), dtype=exact)
        return total / (torch.as_tensor(tokens.counts)[:, None] * asked.shape[1])

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Merge and prune by the thresholds; at most `stage.keep` patch tokens are left."""
        import torch

        from .thresholds import best_partners, compact_order, important, most_important

        position = torch.arange(tokens.count, device=tokens.x.device)
        prefix = position < tokens.num_prefix
        alive = torch.ones_like(tokens.size, dtype=torch.bool)
        alive = alive if tokens.valid is None else tokens.valid
        metric = attention.k.to(tokens.size.dtype).mean(dim=1)  # (B, N, d)
        best, partner = best_partners(metric, alive & ~prefix)
        into = position.repeat(len(alive), 1)
        into[:, ::2] = torch.where(best > self.merge, partner, into[:, ::2])
        merged = tokens.absorb(into)
        importance = torch.zeros_like(attention.score)
        importance = importance.scatter_reduce(1, into, attention.score, "amax")
        alive = important(importance, alive & (into == position), prefix, self.prune)
        alive = most_important(importance, alive, prefix, stage.keep)
        index, valid = compact_order(alive, tokens.num_prefix)
        return merged.keep(index, valid)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count similarities of one half with the other, the attention's sums, merged tokens."""
        from .matching import matching_macs

        attended = shape.heads * shape.tokens**2
        gone = max(0, shape.patches - stage.keep)  # an image may have fewer than it may keep
        return matching_macs(shape) + attended + gone * shape.channels
