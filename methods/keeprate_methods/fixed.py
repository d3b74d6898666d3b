"""Fixed patterns: which patches stay is the same for every image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import KeeprateError, Method, Place

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens

Pattern = Literal["centre", "grid", "radial"]


class Fixed(Method):
    """Keep patches by their place alone: the middle, an even grid, or one that thins outwards.

    Baselines without a paper that look at nothing. `pattern` centre keeps the patches nearest to
    the middle, each side of the image taken as one; grid keeps them evenly spread, half of them as
    a checkerboard; radial keeps the middle whole and ever fewer with the square of the distance
    from it. What fewer patches keep is always a part of what more keep. `place` is where in a block
    they are dropped.
    """

    name: ClassVar[str] = "fixed"

    def __init__(
        self,
        pattern: Pattern = "centre",
        place: Literal["after-attention", "after-block"] = "after-attention",
    ) -> None:
        self.pattern = pattern
        self.place = Place(place)

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return scores (B, N), the same for all images; KeeprateError for patches in no grid."""
        import torch.nn.functional as F

        if tokens.grid is None:
            raise KeeprateError(
                "fixed: the patches of these images form no grid, so that none is in the middle. "
                "Give images whose sides are whole numbers of patches, or use random."
            )
        order = pattern_order(self.pattern, *tokens.grid)
        # the patches that are left are the first of the pattern: nothing else drops any
        left = order[: tokens.num_patch_tokens].sort().values
        score = F.pad(-order.argsort()[left].float(), (tokens.num_prefix, 0))
        score = score.to(tokens.x.device, non_blocking=True)  # waits for nothing before it
        return score.expand(tokens.x.shape[0], -1)


def pattern_order(pattern: Pattern, rows: int, columns: int) -> Tensor:
    """Return the patches (P,) int64 in the order of a pattern: it keeps the first of them.

    Of equal patches the earlier comes first. All numbers are whole, so that every device ranks
    alike.
    """
    import torch

    row, column = torch.arange(rows)[:, None], torch.arange(columns)
    # twice the steps from the middle
    down, across = (2 * row + 1 - rows).abs(), (2 * column + 1 - columns).abs()
    distance = (down * columns) ** 2 + (across * rows) ** 2  # each side of the image taken as one
    if pattern == "centre":
        order = distance
    elif pattern == "grid":
        order = _thresholds(row, column)
    else:  # a threshold of 1 / distance is met by a share of 1 / distance of the patches
        order = distance * (2 * _thresholds(down // 2, across // 2) + 1)
    return order.flatten().argsort(stable=True)


def _thresholds(row: Tensor, column: Tensor) -> Tensor:
    """Return the thresholds of ordered dithering at rows (R, 1) and columns (C,), as (R, C).

    The patches below any number are spread evenly. Source: Bayer's matrix (1973).
    """
    threshold = row * column * 0
    for bit in range(int(max(row.max(), column.max())).bit_length()):
        place = 2 * ((row ^ column) >> bit & 1) + (row >> bit & 1)
        threshold = 4 * threshold + place
    return threshold
