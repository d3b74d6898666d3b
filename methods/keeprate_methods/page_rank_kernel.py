"""The page rank on a GPU: one launch for all iterations. Needs Triton, so it is imported lazily.

A program of the kernel has the matrix of one image and head, and goes on until its signal is there:
two launches and more for every iteration become one for all. How an iteration's vector-matrix
product is computed depends on what fits:

- **held**: a bfloat16 matrix of up to 256 tokens (with padding: 128 KiB) is read from the GPU's
  memory once and lies in the shared memory of one of its processors. The units for matrix products
  read it there: they want 16 vectors and get 3, which add up to the signal in float32 to the last
  bit; their sums are float32.
- **read**: any other matrix is read again in every iteration, some rows at a time, from the caches
  where it fits. Neighbouring threads have neighbouring columns, so they read neighbouring bytes,
  and what a thread adds up stays with it until all rows are done. The products are float32.

Estimated from the instructions for an H200 at batch 256, 6 heads, 197 tokens in bfloat16, not
measured: shared memory gives 128 bytes a cycle, so an iteration takes 1,024 cycles for the padded
matrix and about 400 to split the signal and to add up. 1,536 matrices on 132 processors are 12
rounds; 50 iterations at 1.75 GHz take 0.5 ms, of which padding (256 columns and rows for 197) is
two fifths. Products of the whole batch read 238 MB in float32 each: 50 take 2.5 ms at 4.8 TB/s.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor


class Blocks(NamedTuple):
    """How a program has its matrix; sizes are powers of 2, as Triton wants them."""

    held: bool  # all of it, in shared memory
    rows: int  # that are read at a time
    columns: int  # all of them, with padding
    warps: int  # 32 threads each

    @classmethod
    def of(cls, weights: Tensor) -> Blocks:
        """Return the blocks for matrices like `weights` (B, H, N, N) on their device."""
        columns = max(16, triton.next_power_of_2(weights.shape[-1]))
        needed = 2 * columns * (columns + 16)  # bytes, with the signal's 16 vectors
        held = weights.dtype == torch.bfloat16 and needed <= min(_room(weights.device), 2**18)
        warps = min(8 if held else 16, columns // 16)
        return cls(held, min(columns, 8192 // columns), columns, warps)


def _room(device: torch.device) -> int:
    """Return the bytes of shared memory that a program may have, no limit in the interpreter."""
    if device.type != "cuda":
        return 2**18
    properties = torch.cuda.get_device_properties(device)
    return int(getattr(properties, "shared_memory_per_block_optin", 2**16))


def fused_page_rank(
    weights: Tensor,
    iterations: int,
    emphasis: str,
    alive: Tensor | None,
    renormalise: bool,
    tolerance: float | None,
) -> Tensor:
    """Return what `page_rank` returns, (B, H, N) in float32, in one launch.

    `weights` (B, H, N, N) are float16, bfloat16 or float32 on a GPU, or on a CPU in Triton's
    interpreter; with a `tolerance`, `iterations` are the most.
    """
    batch, heads, count = weights.shape[:3]
    signals = weights.new_empty(batch, heads, count, dtype=torch.float32)
    blocks = Blocks.of(weights)
    _page_rank[(batch * heads,)](
        weights.contiguous(),
        signals if alive is None else alive.contiguous(),
        signals,
        heads,
        count,
        iterations,
        0.0 if tolerance is None else tolerance,
        torch.finfo(torch.float32).tiny ** 0.5,
        EMPHASIS=emphasis,
        RESTRICTED=alive is not None,
        RENORMALISE=alive is not None and renormalise,
        UNTIL_SETTLED=tolerance is not None,
        # Triton's interpreter, on a CPU, takes the bits of bfloat16 for integers in `dot`
        FACTOR=tl.bfloat16 if weights.is_cuda else tl.float32,
        HELD=blocks.held,
        ROWS=blocks.rows,
        COLUMNS=blocks.columns,
        num_warps=blocks.warps,
        enable_fp_fusion=True,  # multiply-adds; said because Triton's default changes
    )
    return signals


@triton.jit
def _page_rank(  # noqa: PLR0913  a kernel takes numbers and pointers alone
    weights,  # pointer to (B, H, N, N)
    alive,  # pointer to (B, N) bool, if RESTRICTED
    signals,  # pointer to (B, H, N) float32, the result
    heads,
    count,  # N
    iterations,
    tolerance,  # if UNTIL_SETTLED
    least_sum,  # rows of the restricted matrix with less count as rows with so much
    EMPHASIS: tl.constexpr,
    RESTRICTED: tl.constexpr,
    RENORMALISE: tl.constexpr,
    UNTIL_SETTLED: tl.constexpr,
    FACTOR: tl.constexpr,
    HELD: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Walk on one matrix; names are those of `page_rank`, vectors have COLUMNS entries."""
    matrix = tl.program_id(0).to(tl.int64)  # 64 bits: all matrices may have over 2**31 entries
    weights += matrix * count * count
    token = tl.arange(0, COLUMNS)
    nodes = (token < count).to(tl.float32)
    if RESTRICTED:
        own = alive + matrix // heads * count + token
        nodes = tl.load(own, mask=token < count, other=0).to(tl.float32)
    gain = nodes
    if RENORMALISE:
        gain = nodes / tl.maximum(_row_sums(weights, nodes, count, ROWS, COLUMNS), least_sum)
    signal = nodes
    boost = tl.where(token == 0, tl.sqrt(tl.sum(nodes)), 1.0)
    if EMPHASIS == "every":
        gain *= boost
    if EMPHASIS == "start":
        signal *= boost
    signal /= tl.sum(signal)

    if HELD:
        held = _rows(weights, 0, count, COLUMNS, COLUMNS)
    step = 0
    walking = True
    while walking:
        sent = signal * gain
        if HELD:
            after = _product_of_held(sent, held, FACTOR)
        else:
            after = _product(sent, weights, count, ROWS, COLUMNS)
        after *= nodes
        after /= tl.sum(after)
        step += 1
        walking = step < iterations
        if UNTIL_SETTLED:
            settled = tl.sum(tl.abs(after - signal)) < tolerance
            after = tl.where(settled, signal, after)
            walking = walking & (not settled)
        signal = after
    tl.store(signals + matrix * count + token, signal, mask=token < count)


@triton.jit
def _rows(weights, first, count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return rows of the matrix from `first` on (ROWS, COLUMNS), 0 past its end."""
    row = first + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    inside = (row < count) & (column < count)
    return tl.load(weights + row * count + column, mask=inside, other=0.0)


@triton.jit
def _product(sent, weights, count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the sum of all rows, each times its entry of `sent`; they are read again."""
    received = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, count, ROWS):
        # a row's entry of `sent` is with the thread of that column, and `gather` brings it over
        factor = tl.gather(sent, first + tl.arange(0, ROWS), 0)
        received += _rows(weights, first, count, ROWS, COLUMNS).to(tl.float32) * factor[:, None]
    return tl.sum(received, axis=0)


@triton.jit
def _product_of_held(sent, held, FACTOR: tl.constexpr):
    """Return the same sum for the rows `held` (COLUMNS, COLUMNS) in bfloat16.

    bfloat16 has 8 bits of a number, float32 24: three of them are one of these.
    """
    high = sent.to(tl.bfloat16)
    rest = sent - high.to(tl.float32)
    middle = rest.to(tl.bfloat16)
    low = (rest - middle.to(tl.float32)).to(tl.bfloat16)
    which = tl.arange(0, 16)[None, :]
    parts = tl.where(which == 0, high[:, None], 0.0)
    parts = tl.where(which == 1, middle[:, None], parts)
    parts = tl.where(which == 2, low[:, None], parts)
    return tl.sum(tl.dot(tl.trans(held).to(FACTOR), parts.to(FACTOR)), axis=1)


@triton.jit
def _row_sums(weights, nodes, count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return every row's sum over `nodes`, at the place of the row's token."""
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for first in range(0, count, ROWS):
        part = _rows(weights, first, count, ROWS, COLUMNS).to(tl.float32)
        of_rows = tl.sum(part * nodes[None, :], axis=1)
        place = first + tl.arange(0, ROWS)[:, None] == tl.arange(0, COLUMNS)[None, :]
        sums += tl.where(place, of_rows[:, None], 0.0)
    return tl.sum(sums, axis=0)
