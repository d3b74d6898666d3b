"""Move marks that would cover one another apart, as far as there is room."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_STEP_PIXELS, _SPREAD_PIXELS = 7.0, 48.0
_SHARE = 0.8
"""The share of the way from one crowd to the next that a crowd may fill."""


def side_by_side(places: Sequence[float]) -> list[float]:
    """Return positions in pixels from left to right; crowded ones are moved apart evenly."""
    crowds = _crowds(places)
    moved: list[float] = []
    for crowd, room in zip(
        crowds, _rooms([sum(crowd) / len(crowd) for crowd in crowds]), strict=True
    ):
        step = min(_STEP_PIXELS, max(room, crowd[-1] - crowd[0]) / len(crowd))
        spread = [crowd[0]]
        for position in crowd[1:]:
            spread.append(max(position, spread[-1] + step))
        # moved back by their mean shift, so that a crowd keeps its middle
        shift = (sum(spread) - sum(crowd)) / len(crowd)
        moved += [position - shift for position in spread]
    return moved


def _crowds(places: Sequence[float]) -> list[list[float]]:
    """Group the positions: within a group, neighbours are closer than a mark needs."""
    crowds: list[list[float]] = []
    for position in places:
        if crowds and position - crowds[-1][-1] < _STEP_PIXELS:
            crowds[-1].append(position)
        else:
            crowds.append([position])
    return crowds


def _rooms(middles: Sequence[float]) -> list[float]:
    """Return the width that each crowd may take without touching its neighbours."""
    gaps = [_SHARE * (right - left) for left, right in pairwise(middles)]
    sides = zip([_SPREAD_PIXELS, *gaps], [*gaps, _SPREAD_PIXELS], strict=False)
    return [min(*neighbours, _SPREAD_PIXELS) for neighbours in sides]
