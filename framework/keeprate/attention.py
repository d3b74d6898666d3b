"""The attention of one block as a method reads it: computed once, and only if it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ._token_checks import mark_numbers
from .errors import KeeprateError
from .method import Needs

if TYPE_CHECKING:
    from .tokens import Tokens

CHUNK_BYTES = {"cpu": 4 * 2**20, "cuda": 32 * 2**20}
"""Bytes of explicit attention matrices per chunk: they stay in the cache of each device type."""


@dataclass
class Attention:
    """Queries, keys and values (B, H, N, d) of a block, after norms and position rotation.

    `bias` is added to the attention logits, None for nothing; `x_pre` (B, N, C) is what q, k and v
    were projected from. `weights` and `class_row` exist only for methods that declare them in
    `needs`; `score` (B, N) is the result of the method's own `score`. If a block computes several
    attention maps, their heads stand side by side.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    bias: AttentionBias | None
    x_pre: Tensor
    needs: Needs = Needs.WEIGHTS
    given_weights: Tensor | None = None
    given_score: Tensor | None = field(default=None)
    reweighing: Reweighing | None = None

    @property
    def mask(self) -> Tensor | None:
        """The bias of the logits; it broadcasts to (B, H, N, N); boolean: True = attend."""
        return None if self.bias is None else self.bias.dense()

    @property
    def weights(self) -> Tensor:
        """Attention weights (B, H, N, N); row i is how query i attends to every key."""
        self._declared(Needs.WEIGHTS, "weights")
        return self.all_weights()

    @property
    def class_row(self) -> Tensor:
        """The class token's row of the attention weights (B, H, N)."""
        self._declared(Needs.CLASS_ROW, "class_row")
        if self.given_weights is not None or self.reweighing is not None:
            return self.all_weights()[:, :, 0]
        mask = None if self.bias is None else self.bias.first_query().dense()
        # in one piece, so that a product of matrices copies neither
        both = torch.cat([self.q[:, :, :1], self.k], dim=2)
        return explicit_weights(both[:, :, :1], both[:, :, 1:], self.scale, mask)[:, :, 0]

    @property
    def score(self) -> Tensor:
        """The scores (B, N) that the method's `score` returned."""
        if self.given_score is None:
            raise KeeprateError(
                "attention.score is what the method's score returned, and here is none: keeprate "
                "gives it to reduce, for methods that implement score. In a test of your own, call "
                "tokens.keep_top(score, stage.keep)."
            )
        return mark_numbers(self.given_score)  # whoever set it has checked it

    def all_weights(self) -> Tensor:
        """Return the weights (B, H, N, N) that the block's output is computed with."""
        if self.given_weights is None:
            weights = explicit_weights(self.q, self.k, self.scale, self.mask)
            reweighing = self.reweighing
            self.given_weights = weights if reweighing is None else reweighing(weights)
        return self.given_weights

    def in_one_piece(self) -> Attention:
        """Return the same with queries, keys and values in memory as products of matrices read it.

        Each product would otherwise copy what it reads.
        """
        if self.q.shape != self.v.shape:
            return self
        q, k, v = torch.stack([self.q, self.k, self.v]).unbind()
        return replace(self, q=q, k=k, v=v)

    def rows(self, images: slice) -> Attention:
        """Return the attention of some images of the batch."""
        return replace(
            self,
            q=self.q[images],
            k=self.k[images],
            v=self.v[images],
            bias=None if self.bias is None else self.bias.rows(images),
            x_pre=self.x_pre[images],
            given_weights=None,
            given_score=None,
            reweighing=None if self.reweighing is None else self.reweighing.rows(images),
        )

    def _declared(self, need: Needs, what: str) -> None:
        if self.needs < need:
            raise KeeprateError(
                f"attention.{what} was read by a method that declares needs = {self.needs.name}; "
                f"declare needs = Needs.{need.name}."
            )


@dataclass(frozen=True)
class Reweighing:
    """What a method does to attention weights: a function of them and of the block's tokens."""

    function: Callable[[Tensor, Tokens], Tensor]
    tokens: Tokens

    def __call__(self, weights: Tensor) -> Tensor:
        """Return the weights (B, H, N, N) in place of `weights`."""
        return self.function(weights, self.tokens)

    def rows(self, images: slice) -> Reweighing:
        """Return the part for some images of the batch."""
        return replace(self, tokens=self.tokens.rows(images))


def explicit_weights(q: Tensor, k: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Return softmax(scale q k^T + mask), (B, H, M, N), for q (B, H, M, d) and k (B, H, N, d)."""
    # scaled inside the product, whose sums are wider than float16, so that all stays finite
    ignored = q.new_empty(1, 1, 1)
    flat = torch.baddbmm(ignored, q.flatten(0, 1), k.flatten(0, 1).mT, beta=0, alpha=scale)
    logits = flat.view(*q.shape[:3], k.shape[2])
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        logits = logits + mask
    return logits.softmax(dim=-1)


def chunks(q: Tensor) -> Iterator[slice]:
    """Split the images of q (B, H, N, d) so that a chunk's attention matrices stay in the cache."""
    batch, heads, count = q.shape[:3]
    if torch.compiler.is_compiling():  # one program for batches and counts of any size
        yield slice(None)
        return
    # on other devices the whole batch is one chunk
    limit = CHUNK_BYTES.get(q.device.type, batch * heads * count * count * q.element_size())
    step = max(1, limit // (heads * count * count * q.element_size()))
    for start in range(0, max(batch, 1), step):  # one chunk for an empty batch, too
        yield slice(start, start + step)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Return the parts that `chunks` made, one after the other; a single one is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


@dataclass(frozen=True)
class AttentionBias:
    """The bias that a model gives its attention, plus the bias that a reduced model adds.

    `given` broadcasts to (B, H, N, N), additive or boolean (True = attend). With `position` (B, N),
    `given` is a table of relative positions for the sequence that entered the first block, and the
    row and column of every token are looked up in it. A copy for a whole batch would fill memory:
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

    def rows(self, images: slice) -> AttentionBias:
        """Return the part for some images of the batch."""
        given = self.given
        # a bias of one row broadcasts over the batch and stays whole
        if given is not None and self.position is None and given.dim() == 4 and len(given) > 1:
            given = given[images]
        return AttentionBias(
            given,
            None if self.position is None else self.position[images],
            None if self.extra is None else self.extra[images],
        )

    def first_query(self) -> AttentionBias:
        """Return the part for the first query, which is the class token."""
        if self.given is None or self.given.shape[-2] == 1:
            return self
        if self.position is None:
            return replace(self, given=self.given[..., :1, :])
        return AttentionBias(_first_row(self.given, self.position), None, self.extra)

    def dense(self) -> Tensor | None:
        """Return the bias of the logits, which broadcasts to (B, H, N, N); None for no bias."""
        given = self.given
        if given is not None and self.position is not None:
            given = _look_up(given, self.position)
        if given is None or self.extra is None:
            return given if self.extra is None else self.extra
        if given.dtype == torch.bool:
            return self.extra.masked_fill(~given, -torch.inf)
        return given + self.extra


def _look_up(table: Tensor, position: Tensor) -> Tensor:
    """Return rows and columns of a table (1, H, M, M) at position (B, N), as (B, H, N, N)."""
    table = table.reshape(table.shape[-3:])
    entries = table[:, position[:, :, None], position[:, None, :]]  # (H, B, N, N)
    return entries.transpose(0, 1)


def _first_row(table: Tensor, position: Tensor) -> Tensor:
    """Return the first token's row of a table (1, H, M, M) at position (B, N), as (B, H, 1, N)."""
    table = table.reshape(table.shape[-3:])
    return table[:, position[:, :1], position].transpose(0, 1)[:, :, None]
