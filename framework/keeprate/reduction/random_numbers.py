"""Random numbers that depend only on the seed and the image, equal on every device."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import KeeprateError

_MIX = (-4658895280553007687, -7723592293110705685)  # SplitMix64's multipliers as signed 64 bits
_STEP = -7046029254386353131  # SplitMix64's increment, 2^64 divided by the golden ratio


def uniform(image: Tensor, count: int, *, seed: int, stream: int = 0) -> Tensor:
    """Return float32 numbers in [0, 1), (B, count), the same for an image in any batch.

    `image` (B,) int64 are the images' indices; `stream` separates independent uses, for example by
    the number of a block. No global random state is read or written. Source: the SplitMix64
    generator (Steele, Lea, Flood 2014), used as a hash of (seed, stream, image, position). Raises
    KeeprateError for a seed that an int64 cannot hold.
    """
    if not -(2**63) <= seed < 2**63:
        raise KeeprateError(f"seed must be from {-(2**63)} to {2**63 - 1}.")
    position = torch.arange(count, device=image.device)
    state = _mix(torch.full_like(image, seed) * _STEP + stream)
    state = _mix(state + image * _STEP)[:, None] + position * _STEP
    # float32 holds 24 bits exactly, so no number is rounded up to 1
    return (_shift_right(_mix(state), 40)).to(torch.float32) / 2**24


def _mix(state: Tensor) -> Tensor:
    """Apply the output function of SplitMix64 to each number."""
    state = (state ^ _shift_right(state, 30)) * _MIX[0]
    state = (state ^ _shift_right(state, 27)) * _MIX[1]
    return state ^ _shift_right(state, 31)


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros (torch's shift of int64 repeats the sign bit)."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)
