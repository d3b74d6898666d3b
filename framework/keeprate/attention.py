"""What a method may look at: the attention of one block, computed once and only if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from .bias import Bias
from .errors import KeeprateError
from .method import Method, Needs, Stage
from .tokens import Tokens

CHUNK_BYTES = {"cpu": 4 * 2**20, "cuda": 32 * 2**20}
"""Explicit attention matrices computed at a time: what stays in the cache of each device type."""


@dataclass
class Attention:
    """Queries, keys and values (B, H, N, d) of a block, after norms and position rotation.

    `bias` is added to the attention logits, None for nothing; `x_pre` (B, N, C) is what q, k and v
    were projected from. `weights` and `class_row` are there for methods that declare the
    need; `score` (B, N) is what the method's own `score` returned. In a block that computes several
    attention maps, their heads stand side by side.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    bias: Bias | None
    x_pre: Tensor
    needs: Needs = Needs.WEIGHTS
    given_weights: Tensor | None = None
    given_score: Tensor | None = field(default=None)

    @property
    def mask(self) -> Tensor | None:
        """What is added to the logits, that broadcasts to (B, H, N, N); boolean: True = attend."""
        return None if self.bias is None else self.bias.dense()

    @property
    def weights(self) -> Tensor:
        """Attention weights (B, H, N, N); row i is how query i attends to every key."""
        self._declared(Needs.WEIGHTS, "weights")
        if self.given_weights is None:
            self.given_weights = explicit_weights(self.q, self.k, self.scale, self.mask)
        return self.given_weights

    @property
    def class_row(self) -> Tensor:
        """The class token's row of the attention weights (B, H, N)."""
        self._declared(Needs.CLASS_ROW, "class_row")
        if self.given_weights is not None:
            return self.given_weights[:, :, 0]
        mask = None if self.bias is None else self.bias.first_query().dense()
        return explicit_weights(self.q[:, :, :1], self.k, self.scale, mask)[:, :, 0]

    @property
    def score(self) -> Tensor:
        """What the method's `score` returned, (B, N)."""
        if self.given_score is None:
            raise KeeprateError("attention.score is there only for methods that implement score.")
        return self.given_score

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
        )

    def _declared(self, need: Needs, what: str) -> None:
        if self.needs < need:
            raise KeeprateError(
                f"attention.{what} was read by a method that declares needs = {self.needs.name}; "
                f"declare needs = Needs.{need.name}."
            )


def explicit_weights(q: Tensor, k: Tensor, scale: float, mask: Tensor | None) -> Tensor:
    """Return softmax(scale q k^T + mask), (B, H, M, N), for q (B, H, M, d) and k (B, H, N, d)."""
    logits = (q * scale) @ k.transpose(-2, -1)
    if mask is not None and mask.dtype == torch.bool:
        logits = logits.masked_fill(~mask, -torch.inf)
    elif mask is not None:
        logits = logits + mask
    return logits.softmax(dim=-1)


def as_written(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast leaves a method's own products in their precision."""
    kind = x.device.type
    available = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if available else nullcontext()


def checked_score(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
    """Return the method's scores (B, N), computed as it is written even under autocast.

    Raises KeeprateError naming the method for scores of another shape or that are not numbers.
    """
    with as_written(tokens.x):
        score = method.score(tokens, attention, stage)
    where = f"Method '{method.name}' at block {stage.block}: score"
    shape = tuple(tokens.x.shape[:2])
    if not isinstance(score, Tensor) or tuple(score.shape) != shape:
        found = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        raise KeeprateError(
            f"{where} must be one number per token, prefix tokens included, {shape}, not {found}."
        )
    if not score.is_meta and bool(score.isnan().any()):
        raise KeeprateError(f"{where} is not a number (NaN) for some tokens.")
    return score


def score_in_chunks(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
    """Return the scores (B, N) of a method that reads the block's output, in bounded memory.

    The attention matrix is gone by then and is computed again, a chunk of images at a time.
    """
    parts = (
        checked_score(method, tokens.rows(images), attention.rows(images), stage)
        for images in chunks(attention.q)
    )
    return torch.cat(list(parts))


def chunks(q: Tensor) -> Iterator[slice]:
    """Split the images of q (B, H, N, d) so that a chunk's attention matrices stay in the cache."""
    batch, heads, count = q.shape[:3]
    limit = CHUNK_BYTES.get(q.device.type, batch * heads * count * count * q.element_size())
    step = max(1, limit // (heads * count * count * q.element_size()))
    for start in range(0, max(batch, 1), step):
        yield slice(start, start + step)
