"""The unpruned model, as one more method."""

from __future__ import annotations

from typing import ClassVar

from keeprate import Method


class Full(Method):
    """Keep every token: the model as it is, what all others are compared with."""

    name: ClassVar[str] = "full"
    reduces: ClassVar[bool] = False
