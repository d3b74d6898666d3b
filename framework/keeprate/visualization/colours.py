"""Colours of pictures: told apart with any colour vision, and even in steps of importance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""
Owners: TypeAlias = NDArray[np.integer[Any]]
"""The token that each patch lives in, (rows, columns); -1 where it was dropped."""

GROUP_COLOURS: Final[tuple[Colour, ...]] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (0, 0, 0),
)
"""Source: Okabe and Ito 2008."""
_DARK: Final = 100
"""Colours of less luminance (0 to 255) are edged with white."""

_STEPS: Final = np.array(
    [
        (68, 1, 84),
        (72, 37, 118),
        (65, 68, 135),
        (53, 96, 141),
        (42, 120, 142),
        (33, 145, 140),
        (34, 168, 132),
        (67, 191, 113),
        (122, 209, 81),
        (187, 223, 39),
        (253, 231, 37),
    ]
)
"""Eleven even steps of viridis (Smith and van der Walt 2015), whose lightness grows evenly."""


def heat(share: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Return the colours (..., 3) of numbers from 0 (dark violet) to 1 (yellow)."""
    place = np.clip(share, 0, 1) * (len(_STEPS) - 1)
    steps = np.arange(len(_STEPS))
    channels = [np.interp(place, steps, _STEPS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def edging(colour: Colour) -> Colour:
    """Return the colour, black or white, that makes a line of `colour` stand out anywhere."""
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (255, 255, 255) if luminance < _DARK else (0, 0, 0)


def merged_groups(owners: Owners) -> list[int]:
    """Return the tokens that more than one patch of `owners` lives in, ascending."""
    tokens, counts = np.unique(owners[owners >= 0], return_counts=True)
    return [int(token) for token in tokens[counts > 1]]


def group_colours(owners: Owners) -> dict[int, Colour]:
    """Return a colour for each merged token, unlike those of the groups that touch it.

    Groups touch where patches do, at a side or a corner. The most entangled choose first, each the
    colour least used among its neighbours, and then in the whole picture.
    """
    groups, touching = merged_groups(owners), _touching(owners)
    chosen: dict[int, int] = {}
    for group in sorted(groups, key=lambda group: (-len(touching[group]), group)):
        chosen[group] = _free(chosen, touching[group])
    return {group: GROUP_COLOURS[chosen[group]] for group in groups}


def _free(chosen: Mapping[int, int], neighbours: set[int]) -> int:
    near = Counter(chosen[each] for each in neighbours if each in chosen)
    everywhere = Counter(chosen.values())
    numbers = range(len(GROUP_COLOURS))
    return min(numbers, key=lambda number: (near[number], everywhere[number], number))


def _touching(owners: Owners) -> dict[int, set[int]]:
    """Return the tokens, by token, whose patches lie beside or across a corner from its own."""
    found: dict[int, set[int]] = defaultdict(set)
    for here, there in _neighbours(owners):
        for one, other in {(int(a), int(b)) for a, b in zip(here, there, strict=True) if a != b}:
            found[one].add(other)
            found[other].add(one)
    return found


def _neighbours(owners: Owners) -> Iterator[tuple[Owners, Owners]]:
    """Yield all pairs of neighbouring patches, each way of lying side by side by itself."""
    yield owners[1:].ravel(), owners[:-1].ravel()
    yield owners[:, 1:].ravel(), owners[:, :-1].ravel()
    yield owners[1:, 1:].ravel(), owners[:-1, :-1].ravel()
    yield owners[1:, :-1].ravel(), owners[:-1, 1:].ravel()
