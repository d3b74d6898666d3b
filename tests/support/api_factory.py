"""Small comparisons from Python, on digits."""

from __future__ import annotations

from typing import Any

import keeprate
from keeprate import ComparisonTable

SMALL: dict[str, Any] = {"limit": 20, "accelerator": "cpu", "progress": False}


def compare(*arguments: Any, **options: Any) -> ComparisonTable:
    """A comparison of 20 digits without progress, at r=4 unless told otherwise."""
    asked = {**SMALL, "schedules": "r=4", **options}
    return keeprate.compare(*arguments, **(asked if arguments else {"data": "digits", **asked}))
