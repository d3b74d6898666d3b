"""Random numbers on a GPU, all in one launch. Needs Triton, so it is imported where it runs."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 256


def drawn_at_once(
    image: Tensor, count: int, first: int, step: int, factors: tuple[int, int]
) -> Tensor:
    """Return what `uniform` returns (B, count), for `image` (B,) and the mixed seed `first`.

    `step` and `factors` are the constants of SplitMix64, as numbers from 0 to 2^64 - 1.
    """
    numbers = torch.empty(len(image), count, dtype=torch.float32, device=image.device)
    if numbers.numel():
        grid = (len(image), triton.cdiv(count, _BLOCK))
        _draw[grid](image.contiguous(), numbers, first, count, _BLOCK, step, *factors)
    return numbers


@triton.jit(do_not_specialize=["first", "count"])
def _draw(
    image,
    numbers,
    first,
    count,
    BLOCK: tl.constexpr,
    STEP: tl.constexpr,
    FACTOR: tl.constexpr,
    OTHER: tl.constexpr,
):
    row = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    step = tl.full((), STEP, tl.uint64)
    state = tl.load(image + row).to(tl.uint64) * step + first.to(tl.uint64)
    state = _mix(state, FACTOR, OTHER) + column.to(tl.uint64) * step
    # 24 bits, which float32 holds exactly
    number = (_mix(state, FACTOR, OTHER) >> 40).to(tl.float32) / 16777216.0
    tl.store(numbers + row.to(tl.int64) * count + column, number, mask=column < count)


@triton.jit
def _mix(state, FACTOR: tl.constexpr, OTHER: tl.constexpr):
    state = (state ^ (state >> 30)) * tl.full((), FACTOR, tl.uint64)
    state = (state ^ (state >> 27)) * tl.full((), OTHER, tl.uint64)
    return state ^ (state >> 31)
