"""Random numbers that depend on the seed and the image alone, on every device."""

from __future__ import annotations

import torch
from torch import Tensor

_MIX = (-4658895280553007687, -7723592293110705685)  # SplitMix64's multipliers as signed 64 bits
_STEP = -7046029254386353131


def uniform(image: Tensor, count: int, *, seed: int, stream: int = 0) -> Tensor:
    """Return (B, count) float32 numbers in [0, 1), the same for an image in any batch.

    `image` (B,) int64 are the images' indices; `stream` separates independent uses (a block number,
    for example). No global random state is read or written. Source: the SplitMix64 generator
    (Steele, Lea, Flood 2014), used as a hash of (seed, stream, image, position).
    """
    position = torch.arange(count, device=image.device)
    state = _mixed(torch.full_like(image, seed) * _STEP + stream)
    state = _mixed(state + image * _STEP)[:, None] + position * _STEP
    return (_shift(_mixed(state), 40)).to(torch.float32) / 2**24


def _mixed(state: Tensor) -> Tensor:
    state = (state ^ _shift(state, 30)) * _MIX[0]
    state = (state ^ _shift(state, 27)) * _MIX[1]
    return state ^ _shift(state, 31)


def _shift(state: Tensor, bits: int) -> Tensor:
    """Shift right without the sign (int64 only has the arithmetic shift)."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
