"""Random numbers on a GPU, all in one launch. Needs Triton, so it is imported where it runs."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .random_numbers import FIRST_FACTOR, SECOND_FACTOR, STEP

_STEP = tl.constexpr(STEP)
_FIRST = tl.constexpr(FIRST_FACTOR)
_SECOND = tl.constexpr(SECOND_FACTOR)
_BLOCK = 256


def drawn_at_once(image: Tensor, count: int, first: int) -> Tensor:
    """Return what `uniform` returns (B, count), for `image` (B,) and the mixed seed `first`."""
    numbers = torch.empty(len(image), count, dtype=torch.float32, device=image.device)
    if numbers.numel():
        grid = (len(image), triton.cdiv(count, _BLOCK))
        _draw[grid](image.contiguous(), numbers, first, count, BLOCK=_BLOCK)
    return numbers


@triton.jit(do_not_specialize=["first", "count"])  # type: ignore[untyped-decorator]
def _draw(image, numbers, first, count, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    step = tl.full((), _STEP, tl.uint64)
    state = _mix(tl.load(image + row).to(tl.uint64) * step + first.to(tl.uint64))
    state = _mix(state + column.to(tl.uint64) * step)
    # 24 bits, which float32 holds exactly
    number = (state >> 40).to(tl.float32) / 16777216.0
    tl.store(numbers + row.to(tl.int64) * count + column, number, mask=column < count)


@triton.jit  # type: ignore[untyped-decorator]
def _mix(state):  # type: ignore[no-untyped-def]
    state = (state ^ (state >> 30)) * tl.full((), _FIRST, tl.uint64)
    state = (state ^ (state >> 27)) * tl.full((), _SECOND, tl.uint64)
    return state ^ (state >> 31)
