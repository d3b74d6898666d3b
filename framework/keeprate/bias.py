"""What enters the attention logits besides queries and keys, made only when it is used."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Bias:
    """The sum of what a model gives its attention and what a reduced model adds.

    `given` broadcasts to (B, H, N, N), additive or boolean (True = attend). With `position` (B, N)
    it was made for the sequence that entered the first block, and row and column of every token are
    looked up: a table of relative positions, whose copy for a whole batch would fill memory, so
    take `rows` of a few images first. `extra` (B, 1, 1, N) is added for every key: the logarithm of
    token sizes, minus infinity for padding.
    """

    given: Tensor | None
    position: Tensor | None = None
    extra: Tensor | None = None

    @property
    def is_looked_up(self) -> bool:
        """Whether every image has a table of its own, (H, N, N)."""
        return self.given is not None and self.position is not None

    def rows(self, images: slice) -> Bias:
        """Return the part for some images of the batch."""
        given = self.given
        if given is not None and self.position is None and given.dim() == 4 and len(given) > 1:
            given = given[images]
        return Bias(
            given,
            None if self.position is None else self.position[images],
            None if self.extra is None else self.extra[images],
        )

    def first_query(self) -> Bias:
        """Return the part that the first token's row of the attention needs."""
        if self.given is None or self.given.shape[-2] == 1:
            return self
        if self.position is None:
            return replace(self, given=self.given[..., :1, :])
        return Bias(_first_row(self.given, self.position), None, self.extra)

    def dense(self) -> Tensor | None:
        """Return what is added to the logits, that broadcasts to (B, H, N, N); None for nothing."""
        given = self.given
        if given is not None and self.position is not None:
            given = _looked_up(given, self.position)
        if given is None or self.extra is None:
            return given if self.extra is None else self.extra
        if given.dtype == torch.bool:
            return self.extra.masked_fill(~given, -torch.inf)
        return given + self.extra


def _looked_up(table: Tensor, position: Tensor) -> Tensor:
    """Return rows and columns of a table (1, H, M, M) at position (B, N), as (B, H, N, N)."""
    table = table.reshape(table.shape[-3:])
    chosen = table[:, position[:, :, None], position[:, None, :]]  # (H, B, N, N)
    return chosen.transpose(0, 1)


def _first_row(table: Tensor, position: Tensor) -> Tensor:
    """Return the first token's row of a table (1, H, M, M) at position (B, N), as (B, H, 1, N)."""
    table = table.reshape(table.shape[-3:])
    return table[:, position[:, :1], position].transpose(0, 1)[:, :, None]
