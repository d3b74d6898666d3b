"""What may happen to tokens, written out in plain lists: one image, one token at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from keeprate import Tokens


@dataclass(frozen=True)
class Token:
    """One token: its embedding, the patches it stands for, whether it counts."""

    x: list[float]
    size: float
    is_valid: bool = True
    patches: frozenset[int] = field(default_factory=frozenset)


Image = list[Token]


def images_of(tokens: Tokens) -> list[Image]:
    """Return the tokens of every image as lists."""
    return [_image(tokens, number) for number in range(len(tokens.x))]


def _image(tokens: Tokens, number: int) -> Image:
    owner = [] if tokens.owner is None else tokens.owner[number].tolist()
    valid = [True] * tokens.count if tokens.valid is None else tokens.valid[number].tolist()
    rows = zip(tokens.x[number].tolist(), tokens.size[number].tolist(), valid, strict=True)
    return [
        Token(x, size, is_valid, frozenset(p for p, at in enumerate(owner) if at == place))
        for place, (x, size, is_valid) in enumerate(rows)
    ]


def can_keep(image: Image, index: Sequence[int], counted: Sequence[bool]) -> bool:
    """Tell whether the positions are there, those that count each once."""
    named = [position for position, counts in zip(index, counted, strict=True) if counts]
    return all(0 <= i < len(image) for i in index) and len(set(named)) == len(named)


def kept(image: Image, index: Sequence[int], counted: Sequence[bool]) -> Image:
    """Return the tokens at the positions; padding owns nothing."""
    found = []
    for position, counts in zip(index, counted, strict=True):
        token, is_valid = image[position], counts and image[position].is_valid
        patches = token.patches if is_valid else frozenset()
        found.append(Token(token.x, token.size, is_valid, patches))
    return found


def top(image: Image, prefix: int, score: Sequence[float], k: int) -> tuple[list[int], list[int]]:
    """Return the positions of prefix tokens and the k best others, and of the rest.

    Padding comes last, in its order.
    """

    def rank(place: int) -> tuple[bool, float, int]:
        is_padding = not image[place].is_valid
        return is_padding, 0.0 if is_padding else -score[place], place

    order = sorted(range(prefix, len(image)), key=rank)
    return [*range(prefix), *sorted(order[:k])], sorted(order[k:])


def can_merge(
    image: Image, source: Sequence[int], into: Sequence[int], order: Sequence[int]
) -> bool:
    """Tell whether every token either stays or merges, once, into one that stays."""
    return sorted([*source, *order]) == list(range(len(image))) and set(into) <= set(order)


def merged(image: Image, source: Sequence[int], into: Sequence[int], order: Sequence[int]) -> Image:
    """Return the tokens that stay, each the size-weighted mean of all that merge into it."""
    found = []
    for position in order:
        group = [position, *(s for s, t in zip(source, into, strict=True) if t == position)]
        size = sum(image[each].size for each in group)
        channels = range(len(image[position].x))
        x = [sum(image[e].x[c] * image[e].size for e in group) / size for c in channels]
        patches = frozenset().union(*(image[each].patches for each in group))
        found.append(Token(x, size, image[position].is_valid, patches))
    return found


def rows(tensor: Tensor) -> list[list[float]]:
    """Return a tensor (B, N) as lists of Python numbers."""
    found: list[list[float]] = tensor.tolist()
    return found
