"""Where marks go that would lie on one another: beside one another, as far as there is room."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_STEP_PIXELS, _SPREAD_PIXELS = 7.0, 48.0
_SHARE = 0.8
"""Of the way from one crowd to the next, which a crowd may fill."""


def side_by_side(places: Sequence[float]) -> list[float]:
    """Places in pixels from left to right, those that crowd moved apart about their middle."""
    crowds = _crowds(places)
    moved: list[float] = []
    for crowd, room in zip(crowds, _rooms([sum(each) / len(each) for each in crowds]), strict=True):
        step = min(_STEP_PIXELS, max(room, crowd[-1] - crowd[0]) / len(crowd))
        apart = [crowd[0]]
        for place in crowd[1:]:
            apart.append(max(place, apart[-1] + step))
        back = (sum(apart) - sum(crowd)) / len(crowd)
        moved += [place - back for place in apart]
    return moved


def _crowds(places: Sequence[float]) -> list[list[float]]:
    """The places in groups: from one to the next is less than a mark needs."""
    crowds: list[list[float]] = []
    for place in places:
        if crowds and place - crowds[-1][-1] < _STEP_PIXELS:
            crowds[-1].append(place)
        else:
            crowds.append([place])
    return crowds


def _rooms(middles: Sequence[float]) -> list[float]:
    """The width that each crowd may take, so that it stays clear of the next ones."""
    gaps = [_SHARE * (right - left) for left, right in pairwise(middles)]
    sides = zip([_SPREAD_PIXELS, *gaps], [*gaps, _SPREAD_PIXELS], strict=False)
    return [min(*each, _SPREAD_PIXELS) for each in sides]
