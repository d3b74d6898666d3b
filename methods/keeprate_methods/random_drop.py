"""Random pruning: the floor every method must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from keeprate import Place

from .skipping import MaySkip

if TYPE_CHECKING:
    from torch import Tensor

    from keeprate import Attention, Stage, Tokens


class RandomDrop(MaySkip):
    """Keep patch tokens drawn uniformly at random: the floor every method must beat.

    The draw depends on `seed`, the image's index and the block alone, so that a run repeats
    whatever the batch size, the order of the images and the device. `place` is where in a block it
    drops: models whose attention and MLP run side by side can only do it after the block.
    `on_drop`: drop the others, or let them skip blocks until before the head, and before the blocks
    of `back`.
    """

    name: ClassVar[str] = "random"

    def __init__(
        self,
        seed: int = 0,
        place: Literal["after-attention", "after-block"] = "after-attention",
        on_drop: Literal["drop", "skip"] = "drop",
        back: tuple[int, ...] = (),
    ) -> None:
        super().__init__(on_drop, back)
        self.seed = seed
        self.place = Place(place)

    def score(self, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
        """Return uniform random scores (B, N)."""
        from keeprate import uniform

        return uniform(tokens.image, tokens.count, seed=self.seed, stream=stage.block)
