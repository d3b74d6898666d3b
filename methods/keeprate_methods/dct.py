"""DCT: the lowest frequencies of the patch tokens stay."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, ClassVar

from keeprate import Method, Place, Shape

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class DCT(Method):
    """Keep the low frequencies of the patch tokens, taken as one sequence in raster order.

    The first `keep` coefficients of the orthonormal discrete cosine transform (DCT-II) along the n
    patch tokens, transformed back as a sequence of that length; prefix tokens take no part. Source:
    the baseline "DCT" in the code of PiToMe (Tran et al., NeurIPS 2024), which computes it in half
    precision; here it is computed in the precision of the tokens, at least float32. A keep rate
    counts as there: each stage keeps its share of the tokens that enter it, rounded up.

    Each token that is left stands for the patches of its stretch of the sequence, and has the place
    of the one in the middle.
    """

    name: ClassVar[str] = "dct"
    place = Place.AFTER_BLOCK

    def kept_at_rate(self, entering: int, rate: float) -> int:
        """Return the share of the tokens that enter, rounded up."""
        return ceil(rate * entering)

    def reduce(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
        """Return prefix tokens and `stage.keep` tokens of low frequency."""
        from keeprate.tokens import at_least_float32

        from .stretches import by_stretches

        patches = tokens.x[:, tokens.num_prefix :].to(at_least_float32(tokens.x.dtype))
        low = cosines(stage.keep, tokens.num_patch_tokens, patches) @ patches  # (B, K, C)
        return by_stretches(tokens, cosines(stage.keep, stage.keep, patches).T @ low)

    def overhead_macs(self, shape: Shape, stage: Stage) -> int:
        """Count both transforms, as products with a matrix."""
        return stage.keep * (shape.patches + stage.keep) * shape.channels


def cosines(rows: int, count: int, like: Tensor) -> Tensor:
    """Return the first `rows` rows (K, n) of the orthonormal DCT-II of `count` numbers."""
    import torch

    row = torch.arange(rows, device=like.device)[:, None]
    position = torch.arange(count, device=like.device)
    # whole turns are taken off in whole numbers: the angles stay small, and their cosines exact
    steps = (2 * position + 1) * row % (4 * count)
    matrix = (steps.to(like.dtype) * (torch.pi / (2 * count))).cos() * (2 / count) ** 0.5
    return torch.where(row == 0, count**-0.5, matrix)
