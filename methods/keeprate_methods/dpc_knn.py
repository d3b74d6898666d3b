"""DPC-KNN: merge tokens around the peaks of their density."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from keeprate import KeeprateError, Method, Place, Shape

if TYPE_CHECKING:
    from keeprate import Attention, Stage, Tokens

EPSILON = 1e-6
"""What the authors add to the number of tokens in a cluster before they divide by it."""


class DPCKNN(Method):
    """Merge patch tokens into the nearest of those that lie dense and far from denser ones.

    A token's density comes from its `k` nearest tokens, its separation is the distance to the
    nearest denser one; the tokens in which their product is largest are centres, every other joins
    the nearest, and a cluster becomes the plain mean of its tokens. Distances are those of the
    tokens themselves. No sizes count and there is no proportional attention. Source: Haurum et al.,
    "Which Tokens to Use?", ICCVW 2023 (arXiv 2308.04657), after TCFormer, CVPR 2022 (arXiv
    2204.08680), its clustering.

    The authors cluster before blocks 3, 6, 9, which is after blocks 2, 5, 8. They break ties by
    noise; here they go to the lowest position.
    """

    name: ClassVar[str] = "dpc-knn"
    place = Place.AFTER_BLOCK
    default_blocks: ClassVar[tuple[int, ...]] = (2, 5, 8)  # the inputs of blocks 3, 6, 9

    def __init__(self, k: int = 5) -> None:
        if k < 1:
            raise KeeprateError("k must be at least 1")
        self.k = k

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Merge the patch tokens into `stage.keep` clusters."""
        from .clustering import best, density_peaks, distances, nearest
        from .merging import match_of, means, merged

        distance = distances(tokens.x[:, tokens.num_prefix :]) * tokens.x.shape[2] ** -0.5
        centres = best(density_peaks(distance, self.k), stage.keep)
        match = match_of(nearest(distance, centres), tokens.num_prefix, stage.keep)
        mean = means(tokens.x, match, epsilon=EPSILON, num_prefix=tokens.num_prefix)
        return merged(tokens, match, mean)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count the distances of all patch tokens and the merged tokens' sums."""
        return (shape.patches**2 + shape.patches - stage.keep) * shape.channels
