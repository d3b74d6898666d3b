"""Methods that may skip: what they do not keep bypasses blocks and comes back."""

from __future__ import annotations

from typing import Literal

from keeprate import Method


class MaySkip(Method):
    """A method that drops what it does not keep or, with `on_drop` skip, sets it aside.

    What is aside comes back before the head, and before each block of `back`.
    """

    def __init__(
        self, on_drop: Literal["drop", "skip"] = "drop", back: tuple[int, ...] = ()
    ) -> None:
        self.on_drop = on_drop
        self.back = back
        self.skips = on_drop == "skip"
