"""Random numbers that depend only on the seed and the image, equal on every device."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import Final

import torch
from torch import Tensor

from ..errors import KeeprateError

# SplitMix64's multipliers, and its increment, 2^64 divided by the golden ratio
FACTORS: Final = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
STEP: Final = 0x9E3779B97F4A7C15
_WORD: Final = 2**64


def uniform(image: Tensor, count: int, *, seed: int, stream: int = 0) -> Tensor:
    """Return float32 numbers in [0, 1), (B, count), the same for an image in any batch.

    `image` (B,) int64 are the images' indices; `stream` separates independent uses, for example by
    the number of a block. No global random state is read or written. Source: the SplitMix64
    generator (Steele, Lea, Flood 2014), used as a hash of (seed, stream, image, position). Raises
    KeeprateError for a seed that an int64 cannot hold.
    """
    if not -(2**63) <= seed < 2**63:
        raise KeeprateError(f"seed must be from {-(2**63)} to {2**63 - 1}.")
    first = _signed(_mixed_number((seed * STEP + stream) % _WORD))
    if torch.compiler.is_exporting():  # a program that runs without keeprate
        return _by_operations(image, count, first)
    drawn: Tensor = _drawn(image, count, first)
    return drawn


@torch.library.custom_op("keeprate::uniform", mutates_args=())
def _drawn(image: Tensor, count: int, first: int) -> Tensor:
    """Return the numbers (B, count), in one launch where Triton runs."""
    if image.is_cuda and find_spec("triton") is not None:
        from .random_kernel import drawn_at_once

        with suppress(Exception), torch.cuda.device(image.device):  # as of a missing compiler
            return drawn_at_once(image, count, first, STEP, FACTORS)
    return _by_operations(image, count, first)


@_drawn.register_fake
def _(image: Tensor, count: int, first: int) -> Tensor:
    return image.new_empty(image.shape[0], count, dtype=torch.float32)


def _by_operations(image: Tensor, count: int, first: int) -> Tensor:
    state = _mix(image * _signed(STEP) + first)
    state = _but_last_shift(
        state[:, None] + torch.arange(count, device=image.device) * _signed(STEP)
    )
    # float32 holds 24 bits exactly, so no number is rounded up to 1; the last shift leaves them
    return _shift_right(state, 40).to(torch.float32) / 2**24


def _mix(state: Tensor) -> Tensor:
    """Apply the output function of SplitMix64 to each number."""
    state = _but_last_shift(state)
    return state ^ _shift_right(state, 31)


def _but_last_shift(state: Tensor) -> Tensor:
    state = (state ^ _shift_right(state, 30)) * _signed(FACTORS[0])
    return (state ^ _shift_right(state, 27)) * _signed(FACTORS[1])


def _shift_right(state: Tensor, bits: int) -> Tensor:
    """Shift right and fill with zeros (torch's shift of int64 repeats the sign bit)."""
    return (state >> bits) & ((1 << (64 - bits)) - 1)


def _mixed_number(state: int) -> int:
    """Return what `_mix` makes of one number from 0 to 2^64 - 1."""
    state = (state ^ state >> 30) * FACTORS[0] % _WORD
    state = (state ^ state >> 27) * FACTORS[1] % _WORD
    return state ^ state >> 31


def _signed(number: int) -> int:
    """Return a number from 0 to 2^64 - 1 as the int64 of the same bits."""
    return number - _WORD if number >= _WORD // 2 else number
