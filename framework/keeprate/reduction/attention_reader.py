"""Reads a block's attention where the model computes it, and adds masks and positions to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._token_state import Reused
from ..attention import Attention, AttentionBias, Reweighing, chunks, joined
from ..backbones.fused_attention import FusedCalls, switched_on
from ..errors import KeeprateError
from ..method import Method, Needs, Stage, has_score
from ..tokens import Tokens
from .method_calls import checked_score, score_in_chunks

_ATEN_KERNEL: Final = torch.ops.aten.scaled_dot_product_attention.default


class LookedAhead(Exception):
    """Ends a block's attention once it has been read, before its output is computed."""


class AttentionReader:
    """Stands between one block and its fused attention calls.

    It adds `mask` (B, 1, 1, N) to the logits, looks up the relative positions of the tokens that
    remain, and shows queries, keys and values to the method of a `stage`. Where none of these is
    needed, the block runs unchanged. A block makes `maps` fused calls, one for each attention map.
    The output is computed with the weights that `reweighing` makes, or that the tokens reuse. A
    reader that looks `ahead` raises LookedAhead where the last output would be computed.
    """

    def __init__(
        self,
        tokens: Tokens,
        mask: Tensor | None = None,
        method: Method | None = None,
        stage: Stage | None = None,
        *,
        maps: int = 1,
        reweighing: Reweighing | None = None,
        ahead: bool = False,
    ) -> None:
        self.tokens, self.mask, self.method, self.stage = tokens, mask, method, stage
        self.maps, self.reweighing, self.ahead = maps, reweighing, ahead
        self.calls: list[Attention] = []

    @contextmanager
    def around(
        self, x_pre: Tensor, attention: nn.Module, *, relative: bool = False
    ) -> Iterator[None]:
        """Return a context for calling the module `attention` on x_pre (B, N, C).

        `relative` says that the module hands a table of relative positions (1, H, M, M), made for
        all tokens, to its fused attention call. The context switches `fused_attn` on if it is off,
        because the attention can only be reached in a fused call.
        """
        position = self.tokens.position if relative else None
        changes = (self.method, self.mask, position, self.reweighing, self.tokens.reused)
        if all(change is None for change in changes):
            # the block then runs exactly the model's own code, bit for bit
            yield
            return
        earlier_calls = len(self.calls)
        with switched_on(attention), _FusedCalls(self, x_pre, position):
            yield
        # attention that was computed in another way would silently ignore the mask
        if len(self.calls) == earlier_calls:
            where = "" if self.stage is None else f" of block {self.stage.block}"
            raise KeeprateError(
                f"The attention{where} ({type(attention).__name__}) made no call of "
                "scaled_dot_product_attention, so it cannot be read or masked."
            )

    @property
    def seen(self) -> Attention:
        """The attention that was read; the heads of several maps stand side by side.

        Raises KeeprateError unless the block made as many fused calls as its family says.
        """
        assert self.method is not None
        assert self.stage is not None
        if len(self.calls) != self.maps:
            raise KeeprateError(
                f"Block {self.stage.block} made {len(self.calls)} fused attention calls where "
                f"{self.maps} were expected: its attention cannot be read."
            )
        seen = self.calls[0] if self.maps == 1 else _join_maps(self.calls)
        # of several maps scores combine all heads, and a look ahead ends before there is an output
        missing = has_score(self.method) and not self.method.scores_block_output
        if missing and seen.given_score is None:
            seen.given_score = score_in_chunks(self.method, self.tokens, seen, self.stage)
        return seen

    def attend(self, seen: Attention, dropout_p: float) -> Tensor:
        """Return the output (B, H, N, d) of one fused call; compute the method's scores with it."""
        self.calls.append(seen)
        if (reused := self.tokens.reused) is not None:
            part = _of_map(reused, len(self.calls) - 1, self.maps, seen.v.shape[-1])
            return _weighted(part.weights, part.v, seen.v, dropout_p)
        if self.ahead:
            # a trace cannot be left by an exception, but what follows is no part of its result
            if len(self.calls) == self.maps and not torch.compiler.is_compiling():
                raise LookedAhead
            return seen.v
        method, stage = self.method, self.stage
        if method is None or stage is None or self.maps > 1 or method.scores_block_output:
            return self._output(seen, dropout_p)
        if has_score(method) and (method.needs is Needs.WEIGHTS or self.reweighing is not None):
            return self._attend_in_chunks(seen, dropout_p, method, stage)
        if method.needs is Needs.WEIGHTS:
            return _explicit(seen, dropout_p)
        out = self._output(seen, dropout_p)
        if has_score(method):
            seen.given_score = checked_score(method, self.tokens, seen, stage)
        return out

    def _output(self, seen: Attention, dropout_p: float) -> Tensor:
        """Return the output (B, H, N, d); the fused kernel is faster than explicit weights."""
        if self.reweighing is None:
            return _run_fused(seen, dropout_p)
        return joined([_explicit(seen.rows(images), dropout_p) for images in chunks(seen.q)])

    def _attend_in_chunks(
        self, attention: Attention, dropout_p: float, method: Method, stage: Stage
    ) -> Tensor:
        """Compute weights, output and scores of a few images at a time, which fit the cache."""
        outputs, scores = [], []
        for images in chunks(attention.q):
            part = attention.rows(images)
            outputs.append(_explicit(part, dropout_p))
            scores.append(checked_score(method, self.tokens.rows(images), part, stage))
        attention.given_score = joined(scores)
        return joined(outputs)


class _FusedCalls(FusedCalls):
    """Shows the fused attention calls made inside it to a reader, with what a reader adds."""

    def __init__(self, reader: AttentionReader, x_pre: Tensor, position: Tensor | None) -> None:
        super().__init__()
        self.reader, self.x_pre, self.position = reader, x_pre, position

    def attend(
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
            # methods expect as many heads of keys as of queries
            groups = query.shape[1] // key.shape[1]
            key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
        # the default of scaled_dot_product_attention
        actual_scale = query.shape[-1] ** -0.5 if scale is None else scale
        # without a table from the model there is nothing to look positions up in
        position = None if attn_mask is None else self.position
        bias = AttentionBias(attn_mask, position, self.reader.mask)
        needs = Needs.NOTHING if self.reader.method is None else self.reader.method.needs
        reweighing = self.reader.reweighing
        attention = Attention(
            query, key, value, actual_scale, bias, self.x_pre, needs, reweighing=reweighing
        )
        return self.reader.attend(attention, dropout_p)


def _run_fused(attention: Attention, dropout_p: float) -> Tensor:
    """Run the fused kernel; a few images at a time where each has a table of positions."""
    if attention.bias is not None and attention.bias.is_looked_up:
        # the tables of a whole batch, (B, H, N, N), would fill memory
        parts = [attention.rows(images) for images in chunks(attention.q)]
        return joined([_run_kernel(part, dropout_p) for part in parts])
    return _run_kernel(attention, dropout_p)


def _run_kernel(attention: Attention, dropout_p: float) -> Tensor:
    # where a compiled graph is only a part, it may run among the calls that are answered: this
    # name of the same kernel is not one of them
    compiling = torch.compiler.is_compiling()
    kernel = _ATEN_KERNEL if compiling else F.scaled_dot_product_attention
    q, k, v = attention.q, attention.k, attention.v
    return cast(Tensor, kernel(q, k, v, attention.mask, dropout_p, scale=attention.scale))


def _explicit(attention: Attention, dropout_p: float) -> Tensor:
    whole = attention if attention.given_weights is not None else attention.in_one_piece()
    attention.given_weights = whole.all_weights()
    return _weighted(attention.given_weights, None, whole.v, dropout_p)


def _weighted(weights: Tensor, v: Tensor | None, own: Tensor, dropout_p: float) -> Tensor:
    """Return weights (B, H, K, M) times the values `v` (B, H, M, d), or the block's `own`."""
    values = own if v is None else v
    weights = weights.to(values.dtype)
    return (F.dropout(weights, dropout_p) if dropout_p else weights) @ values


def _join_maps(calls: list[Attention]) -> Attention:
    """Put the heads of several maps side by side: q, k and v (B, H * maps, N, d).

    Maps may share their values, which are then wider (differential attention): each map gets an
    equal part of the channels.
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


def _of_map(reused: Reused, place: int, maps: int, width: int) -> Reused:
    """Return the part of one of several maps that `_join_maps` put side by side.

    `width` are the channels of the values that the block hands to each map.
    """
    weights, v = reused.weights.chunk(maps, dim=1)[place], reused.v
    if v is None:
        return Reused(weights)
    parts = v.chunk(maps, dim=1)
    shared = v.shape[-1] < width
    return Reused(weights, torch.cat(parts, dim=-1) if shared else parts[place])
