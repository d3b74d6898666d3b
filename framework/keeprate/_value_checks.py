"""When the values that checks look at are read: at once, after the forward pass, or never.

Reading a value from a GPU waits until all work given to it is done, so that a forward pass reads
none: what its checks find stays on the device and is read once, after the pass. If anything was
found, the pass is run again with checks that are read at once, which say what and where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

from .errors import KeeprateError


class ValueChecks:
    """Checks whose values are read at once: those of tokens outside a forward pass."""

    looks: bool = True
    """Whether values are looked at at all."""

    def fails(self, look: Callable[[], Tensor]) -> bool:
        """Tell whether the boolean tensor that `look` returns is True anywhere."""
        found = look()
        return not without_values(found) and bool(found.any())

    def has_nan(self, numbers: Tensor) -> bool:
        """Tell whether any of `numbers` is NaN."""
        return self.fails(numbers.isnan)

    def has_zero(self, sizes: Tensor) -> bool:
        """Tell whether any of `sizes` is 0."""
        return self.fails(lambda: sizes == 0)

    def any_failed(self) -> bool:
        """Tell whether a check failed of which `fails` has said nothing."""
        return False


class DeferredChecks(ValueChecks):
    """Checks of one forward pass, read together when it is done."""

    def __init__(self) -> None:
        self._found: list[Tensor] = []
        self._numbers: list[Tensor] = []
        self._sizes: list[Tensor] = []

    def fails(self, look: Callable[[], Tensor]) -> bool:
        """Return False, and keep what `look` returns for `any_failed`."""
        self._found.append(look().flatten())
        return False

    def has_nan(self, numbers: Tensor) -> bool:
        """Return False, and keep `numbers` as they are for `any_failed`.

        All of a pass are looked at in one operation, so that none is needed at each stage.
        """
        self._numbers.append(numbers.flatten())
        return False

    def has_zero(self, sizes: Tensor) -> bool:
        """Return False, and keep `sizes` as `has_nan` does."""
        self._sizes.append(sizes.flatten())
        return False

    def any_failed(self) -> bool:
        """Tell whether a check failed since the last call; waits for the device, once."""
        found, numbers, sizes = self._found, self._numbers, self._sizes
        self._found, self._numbers, self._sizes = [], [], []
        if any(without_values(each) for each in (*found, *numbers, *sizes)):
            return False
        if numbers:
            found.append(torch.cat(numbers).isnan())
        if sizes:
            found.append(torch.cat(sizes) == 0)
        return bool(found) and bool(torch.cat(found).any())


class NoChecks(ValueChecks):
    """No check looks at values; shapes, types and devices are compared as ever."""

    looks = False

    def fails(self, look: Callable[[], Tensor]) -> bool:
        """Return False; `look` is not called."""
        return False


AT_ONCE: Final = ValueChecks()
NEVER: Final = NoChecks()


def at_once() -> ValueChecks:
    """Return the checks outside a forward pass (torch.compile finds a global, and makes none)."""
    return AT_ONCE


def without_values(x: Tensor) -> bool:
    """Tell whether the numbers of `x` cannot be read: on the meta device, or during an export."""
    return x.is_meta or torch.compiler.is_exporting()


def checks_of_pass(*, wanted: bool) -> ValueChecks:
    """Return the checks of a new forward pass: deferred if `wanted`, and none in a traced program.

    A program that torch.compile or torch.export makes cannot look at values and go on.
    """
    return DeferredChecks() if wanted and not torch.compiler.is_compiling() else NEVER


def not_found_again() -> KeeprateError:
    """Return the error for a fault that was found in a batch, and not when it was repeated."""
    return KeeprateError(
        "A check of this batch failed, and none did when the batch was computed again: either a "
        "method gives other results each time, or the device computes wrongly. If neither is so, "
        "please report it as a fault of keeprate."
    )
