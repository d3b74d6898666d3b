"""Escapes what could steer a terminal, or the program that draws a chart, in all that is shown."""

from __future__ import annotations

from typing import TypeVar

from ..errors import printable
from .mapped_texts import mapped_texts

T = TypeVar("T")


def printable_content(content: T) -> T:
    """Return content with every text in it printable; what has none to change stays the same."""
    shown: T = mapped_texts(content, printable)
    return shown
