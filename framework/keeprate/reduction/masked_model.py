"""The plain model, run by its own code with some tokens masked: what a reduced run must equal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..backbone import Backbone, Inputs
from ..backbones.fused_attention import FusedCalls, switched_on
from ..method import Place
from .trace import Survivors


def masked_logits(
    backbone: Backbone,
    inputs: Inputs,
    survivors: Sequence[Survivors],
    place: Place = Place.AFTER_BLOCK,
) -> Tensor:
    """Return the logits (B, K) of the plain model without the tokens that each stage dropped.

    The model's own forward runs on every token. Blocks after a stage, and the stage's own where
    `place` is before it, mask the dropped tokens as keys, and only survivors leave the last block:
    equally many in each image, all of one size.
    """
    later = 0 if place is Place.BEFORE_BLOCK else 1
    alive = {s.block + later: _alive_tokens(s.owner, backbone.num_prefix) for s in survivors}
    mode = MaskedKeys()
    with switched_on(backbone.model), _block_hooks(backbone, alive, mode), mode:
        return backbone.plain(inputs)


class MaskedKeys(FusedCalls):
    """Masks the keys that are not alive in every fused attention call, and counts all keys."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: Tensor | None = None  # (B, N)
        self.counts: list[int] = []

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *options: Any,
        **named_options: Any,
    ) -> Tensor:
        self.counts.append(key.shape[-2])
        if self.alive is not None:
            attn_mask = _add_key_mask(attn_mask, self.alive, query)
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask, *options, **named_options
        )


def _add_key_mask(mask: Tensor | None, alive: Tensor, query: Tensor) -> Tensor:
    keys = alive[:, None, None, :]
    if mask is None:
        return keys
    if mask.dtype == torch.bool:
        return mask & keys
    return mask.masked_fill(~keys, -torch.inf).to(query.dtype)


@contextmanager
def _block_hooks(
    backbone: Backbone, alive: Mapping[int, Tensor], mode: MaskedKeys
) -> Iterator[None]:
    """Tell `mode` which tokens are `alive` from which block on; drop the others after the last.

    They stay if the head is declared to read prefix tokens only: a wrong declaration then shows.
    """

    def before(block: int) -> Any:
        def hook(module: nn.Module, inputs: Any) -> None:
            mode.alive = alive.get(block, mode.alive)

        return hook

    def after_last(module: nn.Module, inputs: Any, output: Any) -> Any:
        # pooling may attend as well, and the output below has only the tokens alive
        alive_last, mode.alive = alive.get(backbone.depth, mode.alive), None
        if alive_last is None or backbone.head_reads_prefix_only:
            return None
        if isinstance(output, Tensor):
            return _select_tokens(output, alive_last)
        return (_select_tokens(output[0], alive_last), *output[1:])

    handles = [
        block.register_forward_pre_hook(before(i)) for i, block in enumerate(backbone.blocks)
    ]
    handles.append(backbone.blocks[-1].register_forward_hook(after_last))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _select_tokens(x: Tensor, alive: Tensor) -> Tensor:
    """Return the `alive` (B, N) tokens of x (B, N, C), or of a grid (B, H, W, C) as a column."""
    tokens = x.flatten(1, -2)[alive].reshape(len(x), -1, x.shape[-1])
    return tokens if x.dim() == 3 else tokens[:, :, None]


def _alive_tokens(owner: Tensor, num_prefix: int) -> Tensor:
    """Return which tokens (B, N) of the original sequence are alive, prefix included."""
    return F.pad(owner >= 0, (num_prefix, 0), value=True)
