"""Smaller models, unpruned, on the same samples: what one may run in place of reducing a larger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import Interval


@dataclass(frozen=True)
class OtherModel:
    """A smaller model, unpruned, on the samples of a group: its cost and score in their units."""

    model: str
    run_id: str
    macs: float
    score: Interval
