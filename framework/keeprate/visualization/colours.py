"""Colours of pictures: people of any colour vision can tell them apart; heat grows evenly."""

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
_DARK_LUMINANCE: Final = 100
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
    position = np.clip(share, 0, 1) * (len(_STEPS) - 1)
    steps = np.arange(len(_STEPS))
    # np.interp takes one channel at a time
    channels = [np.interp(position, steps, _STEPS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def edging(colour: Colour) -> Colour:
    """Return the colour, black or white, that makes a line of `colour` stand out anywhere."""
    # ITU-R BT.601: how bright people see red, green and blue
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (255, 255, 255) if luminance < _DARK_LUMINANCE else (0, 0, 0)


def merged_groups(owners: Owners) -> list[int]:
    """Return the tokens that more than one patch of `owners` lives in, ascending."""
    tokens, counts = np.unique(owners[owners >= 0], return_counts=True)
    return [int(token) for token in tokens[counts > 1]]


def group_colours(owners: Owners) -> dict[int, Colour]:
    """Return a colour for each merged token that differs from those of the groups that touch it.

    Two groups touch where two of their patches do, at a side or a corner. Each group gets the
    colour that its neighbours use least, and of equal ones that the whole picture uses least.
    """
    groups, touching = merged_groups(owners), _touching_tokens(owners)
    colour_numbers: dict[int, int] = {}
    # the group with most neighbours goes first, while most colours are still free
    for group in sorted(groups, key=lambda group: (-len(touching[group]), group)):
        colour_numbers[group] = _least_used_colour(colour_numbers, touching[group])
    return {group: GROUP_COLOURS[colour_numbers[group]] for group in groups}


def _least_used_colour(colour_numbers: Mapping[int, int], neighbours: set[int]) -> int:
    near = Counter(colour_numbers[token] for token in neighbours if token in colour_numbers)
    everywhere = Counter(colour_numbers.values())
    numbers = range(len(GROUP_COLOURS))
    return min(numbers, key=lambda number: (near[number], everywhere[number], number))


def _touching_tokens(owners: Owners) -> dict[int, set[int]]:
    """Return for each token the tokens whose patches touch its own, at a side or a corner."""
    # dropped patches (-1) are listed as well; they never get a colour, so they forbid none
    touching: dict[int, set[int]] = defaultdict(set)
    for patches, others in _patch_pairs(owners):
        pairs = {(int(a), int(b)) for a, b in zip(patches, others, strict=True) if a != b}
        for token, neighbour in pairs:
            touching[token].add(neighbour)
            touching[neighbour].add(token)
    return touching


def _patch_pairs(owners: Owners) -> Iterator[tuple[Owners, Owners]]:
    """Yield the owners of all pairs of patches that touch, one direction at a time."""
    # four directions are enough: the other four give the same pairs the other way round
    yield owners[1:].ravel(), owners[:-1].ravel()
    yield owners[:, 1:].ravel(), owners[:, :-1].ravel()
    yield owners[1:, 1:].ravel(), owners[:-1, :-1].ravel()
    yield owners[1:, :-1].ravel(), owners[:-1, 1:].ravel()
