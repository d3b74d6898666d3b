"""Reads a block's attention where the model itself computes it, and changes what must change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..attention import Attention, AttentionBias, chunks
from ..backbones.fused_attention import switched_on
from ..errors import KeeprateError
from ..method import Method, Needs, Stage, has_score
from ..tokens import Tokens
from .method_calls import checked_score, score_in_chunks


class AttentionReader:
    """Stands between one block and its fused attention calls.

    It adds `mask` (B, 1, 1, N) to the logits, looks relative positions up for the tokens that are
    left, and shows queries, keys and values to the method of a `stage`. Where none of that is
    needed the block runs untouched. A block makes `maps` fused calls: one, or as many as it
    computes attention maps.
    """

    def __init__(
        self,
        tokens: Tokens,
        mask: Tensor | None = None,
        method: Method | None = None,
        stage: Stage | None = None,
        *,
        maps: int = 1,
    ) -> None:
        self.tokens, self.mask, self.method, self.stage = tokens, mask, method, stage
        self.maps = maps
        self.calls: list[Attention] = []

    @contextmanager
    def around(
        self, x_pre: Tensor, attention: nn.Module, *, relative: bool = False
    ) -> Iterator[None]:
        """Return a context for calling the module `attention` on x_pre (B, N, C).

        `relative` says that the module hands a table of relative positions (1, H, M, M), made for
        all tokens, to its fused attention call. A module whose `fused_attn` is switched off is
        switched on inside the context, since its attention could not be reached otherwise.
        """
        position = self.tokens.position if relative else None
        if self.method is None and self.mask is None and position is None:
            yield
            return
        before = len(self.calls)
        with switched_on(attention), _FusedCalls(self, x_pre, position):
            yield
        if len(self.calls) == before:
            where = "" if self.stage is None else f" of block {self.stage.block}"
            raise KeeprateError(
                f"The attention{where} ({type(attention).__name__}) made no call of "
                "scaled_dot_product_attention, so it cannot be read or masked."
            )

    @property
    def seen(self) -> Attention:
        """The attention that was read, of several maps with their heads side by side.

        Raises KeeprateError unless the block made as many fused calls as its family says.
        """
        assert self.method is not None
        assert self.stage is not None
        if len(self.calls) != self.maps:
            raise KeeprateError(
                f"Block {self.stage.block} made {len(self.calls)} fused attention calls where "
                f"{self.maps} were expected: its attention cannot be read."
            )
        if self.maps == 1:
            return self.calls[0]
        joined = _joined(self.calls)
        if has_score(self.method) and not self.method.scores_block_output:
            joined.given_score = score_in_chunks(self.method, self.tokens, joined, self.stage)
        return joined

    def attend(self, seen: Attention, dropout_p: float) -> Tensor:
        """Answer one fused call: its output (B, H, N, d), with scores on the way if asked for."""
        self.calls.append(seen)
        method, stage = self.method, self.stage
        if method is None or stage is None or self.maps > 1 or method.scores_block_output:
            return _fused(seen, dropout_p)
        if method.needs < Needs.WEIGHTS:
            out = _fused(seen, dropout_p)
            if has_score(method):
                seen.given_score = checked_score(method, self.tokens, seen, stage)
            return out
        if has_score(method):
            return self._in_chunks(seen, dropout_p, method, stage)
        return _weighted(seen, dropout_p)

    def _in_chunks(self, seen: Attention, dropout_p: float, method: Method, stage: Stage) -> Tensor:
        """Compute weights, output and scores for as many images at a time as stay in the cache."""
        out, score = [], []
        for images in chunks(seen.q):
            part = seen.rows(images)
            out.append(_weighted(part, dropout_p))
            score.append(checked_score(method, self.tokens.rows(images), part, stage))
        seen.given_score = torch.cat(score)
        return torch.cat(out)


class _FusedCalls(TorchFunctionMode):
    """Takes over the fused attention calls inside it; lets everything else pass."""

    def __init__(self, reader: AttentionReader, x_pre: Tensor, position: Tensor | None) -> None:
        super().__init__()
        self.reader, self.x_pre, self.position = reader, x_pre, position

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if is_causal:
            raise KeeprateError("Causal attention has no importance scores: it is not supported.")
        if enable_gqa:
            groups = query.shape[1] // key.shape[1]
            key, value = (each.repeat_interleave(groups, dim=1) for each in (key, value))
        actual = query.shape[-1] ** -0.5 if scale is None else scale
        position = None if attn_mask is None else self.position
        bias = AttentionBias(attn_mask, position, self.reader.mask)
        needs = Needs.NOTHING if self.reader.method is None else self.reader.method.needs
        seen = Attention(query, key, value, actual, bias, self.x_pre, needs)
        return self.reader.attend(seen, dropout_p)


def _fused(seen: Attention, dropout_p: float) -> Tensor:
    """Run the fused kernel; a few images at a time where each has a table of positions."""
    if seen.bias is not None and seen.bias.is_looked_up:
        parts = [seen.rows(images) for images in chunks(seen.q)]
        return torch.cat([_kernel(part, dropout_p) for part in parts])
    return _kernel(seen, dropout_p)


def _kernel(seen: Attention, dropout_p: float) -> Tensor:
    return F.scaled_dot_product_attention(
        seen.q, seen.k, seen.v, seen.mask, dropout_p, scale=seen.scale
    )


def _weighted(seen: Attention, dropout_p: float) -> Tensor:
    weights = seen.weights
    return (F.dropout(weights, dropout_p) if dropout_p else weights) @ seen.v


def _joined(calls: list[Attention]) -> Attention:
    """Put the heads of several maps side by side: q, k and v (B, H * maps, N, d).

    Maps that share their values (differential attention, whose values are wider) get an equal part
    of the channels each.
    """
    first = calls[0]
    if first.bias is not None and first.bias.given is not None:
        raise KeeprateError("Several attention maps with a bias of their own are not supported.")
    shared = all(call.v is first.v for call in calls)
    values = first.v.chunk(len(calls), dim=-1) if shared else [call.v for call in calls]
    return replace(
        first,
        q=torch.cat([call.q for call in calls], dim=1),
        k=torch.cat([call.k for call in calls], dim=1),
        v=torch.cat(list(values), dim=1),
        bias=None if first.bias is None else AttentionBias(None, None, first.bias.extra),
    )
