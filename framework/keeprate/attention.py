"""What a method may look at: the attention of one block, computed once and only if asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .errors import KeeprateError
from .method import Method, Needs, Stage, has_score
from .tokens import Tokens

CHUNK_BYTES = {"cpu": 4 * 2**20, "cuda": 32 * 2**20}
"""Explicit attention matrices computed at a time: what stays in the cache of each device type."""


@dataclass
class Attention:
    """Queries, keys and values (B, H, N, d) of a block, after norms and position rotation.

    `mask` is the additive attention mask (or boolean, True = attend) or None; `x_pre` (B, N, C) is
    what q, k and v were projected from. `weights` and `class_row` are there for methods that
    declare the need; `score` (B, N) is what the method's own `score` returned.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    scale: float
    mask: Tensor | None
    x_pre: Tensor
    needs: Needs = Needs.WEIGHTS
    given_weights: Tensor | None = None
    given_score: Tensor | None = field(default=None)

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
        mask = self.mask if self.mask is None or self.mask.shape[-2] == 1 else self.mask[..., :1, :]
        return explicit_weights(self.q[:, :, :1], self.k, self.scale, mask)[:, :, 0]

    @property
    def score(self) -> Tensor:
        """What the method's `score` returned, (B, N)."""
        if self.given_score is None:
            raise KeeprateError("attention.score is there only for methods that implement score.")
        return self.given_score

    def rows(self, images: slice) -> Attention:
        """Return the attention of some images of the batch."""
        mask = self.mask
        if mask is not None and mask.dim() == 4 and mask.shape[0] > 1:
            mask = mask[images]
        return replace(
            self,
            q=self.q[images],
            k=self.k[images],
            v=self.v[images],
            mask=mask,
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


class AttentionReader(TorchFunctionMode):
    """Takes over the one fused attention call of a block and shows its operands to a method.

    Active only around the block's attention module. `calls` counts the fused calls seen, so that a
    block whose attention works some other way is noticed instead of silently left alone.
    """

    def __init__(self, method: Method, tokens: Tokens, stage: Stage) -> None:
        super().__init__()
        self.method, self.tokens, self.stage = method, tokens, stage
        self.x_pre: Tensor = tokens.x
        self.calls = 0
        self.attention: Attention | None = None

    @property
    def seen(self) -> Attention:
        """The attention that was read.

        Raises KeeprateError unless the block made exactly one fused attention call.
        """
        if self.attention is None or self.calls != 1:
            raise KeeprateError(
                f"Block {self.stage.block} made {self.calls} fused attention calls where one was "
                "expected: its attention cannot be read."
            )
        return self.attention

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Answer the fused attention call; let everything else pass."""
        if func is F.scaled_dot_product_attention:
            self.calls += 1
            return self._attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        if is_causal:
            raise KeeprateError("Causal attention has no importance scores: it is not supported.")
        actual = q.shape[-1] ** -0.5 if scale is None else scale
        seen = Attention(q, k, v, actual, attn_mask, self.x_pre, self.method.needs)
        self.attention = seen
        later = self.method.scores_block_output
        if self.method.needs < Needs.WEIGHTS or later:
            out = F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, scale=scale)
            if has_score(self.method) and not later:
                seen.given_score = checked_score(self.method, self.tokens, seen, self.stage)
            return out
        if has_score(self.method):
            return self._attend_in_chunks(seen, dropout_p)
        return F.dropout(seen.weights, dropout_p) @ v if dropout_p else seen.weights @ v

    def _attend_in_chunks(self, seen: Attention, dropout_p: float) -> Tensor:
        """Compute weights, output and scores for as many images at a time as stay in the cache."""
        out, score = [], []
        for images in chunks(seen.q):
            part = seen.rows(images)
            weights = part.weights
            dropped = F.dropout(weights, dropout_p) if dropout_p else weights
            out.append(dropped @ part.v)
            score.append(checked_score(self.method, self.tokens.rows(images), part, self.stage))
        seen.given_score = torch.cat(score)
        return torch.cat(out)


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
    for start in range(0, batch, step):
        yield slice(start, start + step)
