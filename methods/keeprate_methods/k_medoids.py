"""K-Medoids: keep the tokens in the middle of clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import KeeprateError, Method, Needs, Place, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class KMedoids(Method):
    """Keep the patch tokens in the middle of clusters of tokens, weighted by attention.

    From the tokens that receive most attention, `iterations` times: every token joins the nearest
    medoid, and the member nearest to its cluster, by the sum of distances weighted with the
    others' attention, is its new medoid. The medoids stay as they are, the rest is dropped. With
    `weights="equal"` all weigh 1, and the first medoids are the first patch token and then always
    the one farthest from those chosen. Source: Haurum et al., "Which Tokens to Use?", ICCVW 2023
    (arXiv 2308.04657), after Marin et al., "Token Pooling" (arXiv 2110.03860).

    The authors cluster before blocks 3, 6, 9 with the attention of the block before, which is after
    blocks 2, 5, 8. `variant="repository"` is their code: a token's cost is its own attention times
    its distances to all tokens, of all clusters, and the farthest token is the one whose largest
    distance to those chosen is largest. Their first equal medoid is random.
    """

    name: ClassVar[str] = "k-medoids"
    place = Place.AFTER_BLOCK
    needs = Needs.WEIGHTS
    default_blocks: ClassVar[tuple[int, ...]] = (2, 5, 8)  # the inputs of blocks 3, 6, 9

    def __init__(
        self,
        iterations: int = 3,
        weights: Literal["attention", "equal"] = "attention",
        variant: Literal["standard", "repository"] = "standard",
    ) -> None:
        if iterations < 0:
            raise KeeprateError("iterations must not be negative")
        self.iterations, self.weights, self.variant = iterations, weights, variant
        self.needs = Needs.WEIGHTS if weights == "attention" else Needs.NOTHING

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return the weights (B, N): column sums of the attention over heads and queries, or 1."""
        import torch

        from keeprate.tokens import at_least_float32

        dtype = at_least_float32(tokens.x.dtype)
        if self.weights == "equal":
            return torch.ones_like(tokens.x[..., 0], dtype=dtype)
        return attention.weights.sum(dim=(1, 2), dtype=dtype)

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Keep `stage.keep` medoids of the patch tokens."""
        import torch

        from .clustering import best, distances, farthest_first, medoids

        prefix, usual = tokens.num_prefix, self.variant == "standard"
        distance, weight = distances(tokens.x[:, prefix:]), attention.score[:, prefix:]
        if self.weights == "equal":
            first = farthest_first(distance, stage.keep, from_nearest=usual)
        else:
            first = best(weight, stage.keep)
        found = medoids(distance, weight, first, self.iterations, of_cluster=usual)
        kept = torch.arange(prefix, device=found.device).expand(found.shape[0], -1)
        return tokens.keep(torch.cat([kept, found + prefix], dim=1))

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the distances of all patch tokens, their sums and the column sums of attention."""
        columns = shape.heads * shape.tokens**2 if self.weights == "attention" else 0
        return shape.patches**2 * (shape.channels + self.iterations) + columns
