"""Where tokens are that are each made of all patch tokens: spread over the sequence."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from keeprate import Tokens


def by_stretches(tokens: Tokens, x: Tensor) -> Tokens:
    """Return the prefix tokens, and `x` (B, K, C) in place of the patch tokens.

    What is made of all patches belongs to none. So that every patch has a token, and every token
    one patch at least, each stands for a stretch of the sequence, as long as any other to one
    patch, has its size, and the place of the patch in its middle.
    """
    prefix, count = tokens.num_prefix, tokens.num_patch_tokens
    edges = [prefix + stretch * count // x.shape[1] for stretch in range(x.shape[1] + 1)]
    pairs = [
        (position, (start + end - 1) // 2)
        for start, end in pairwise(edges)
        for position in range(start, end)
        if position != (start + end - 1) // 2
    ]
    # a copy of this kind waits for nothing that the device does
    gone = torch.tensor(pairs).to(tokens.x.device, non_blocking=True)
    gone = gone.expand(x.shape[0], -1, -1)  # (B, R, 2)
    kept = tokens.merge(gone[..., 0], gone[..., 1], average=False)
    return kept.with_x(torch.cat([kept.x[:, :prefix], x.to(kept.x.dtype)], dim=1))
