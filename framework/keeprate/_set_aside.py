"""Tokens that bypass blocks: how they are set aside, and how they come back in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ._token_state import MethodState, no_state
from .errors import KeeprateError

if TYPE_CHECKING:
    from .tokens import Tokens


def set_aside(
    tokens: Tokens, position: Tensor, kept: int | None, names: Iterable[str]
) -> tuple[Tokens, Tensor]:
    """Return all that is aside once some of the `tokens` leave, and where each of them then is.

    `position` (B, N) is the new position of each token, -1 for those that leave; in the result
    these have -2 - j, j being their position among all that is aside. Each image keeps `kept`
    tokens; None: images differ. `names` are the fields with a row for each token.
    """
    leaves = position < 0 if tokens.valid is None else (position < 0) & tokens.valid
    # where images differ the rows of all tokens are taken: to count would wait for the device
    number = tokens.count - (0 if kept is None else kept)
    order = leaves.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :number]
    taken = tokens._at(lambda: order, names)
    valid = leaves.gather(1, order)
    taken["valid"] = None if kept is not None and tokens.valid is None else valid
    added = replace(
        tokens, **taken, num_prefix=0, owner=None, state=no_state(), aside=None, sets_aside=False
    )
    before = tokens.aside
    place = torch.arange(number, device=order.device) + (0 if before is None else before.count)
    codes = torch.where(valid, -2 - place, position.gather(1, order))
    aside = added if before is None else joined(before, added, names)
    return aside, position.scatter(1, order, codes)


def joined(first: Tokens, second: Tokens, names: Iterable[str]) -> Tokens:
    """Return `first` with the tokens of `second` behind its own, by the fields `names`."""
    both: dict[str, Any] = {}
    for name in names:
        one, other = getattr(first, name), getattr(second, name)
        if isinstance(one, MethodState):
            both[name] = _joined_state(one, other)
        elif isinstance(one, Tensor) and isinstance(other, Tensor):
            both[name] = torch.cat([one, other], dim=1)
    if first.valid is not None or second.valid is not None:
        both["valid"] = torch.cat([_valid(first), _valid(second)], dim=1)
    return replace(first, **both)


def in_order(tokens: Tokens, aside: Tokens, names: Iterable[str]) -> tuple[Tokens, Tensor]:
    """Return `tokens` and those `aside`, and the order (B, K) of their positions in the input.

    The order leaves out as much padding as it can.
    """
    owner = tokens.owner
    if owner is not None:
        owner = torch.where(owner < -1, tokens.count - 2 - owner, owner)
    both = replace(joined(tokens, aside, names), owner=owner, aside=None, sets_aside=False)
    position = both.position
    assert position is not None  # it is recorded from the first token on that leaves
    if both.valid is None:
        return both, position.argsort(dim=1, stable=True)
    last = torch.iinfo(position.dtype).max
    order = position.masked_fill(~both.valid, last).argsort(dim=1, stable=True)
    return both, order[:, : int(both.valid.sum(dim=1).max())]


def _valid(tokens: Tokens) -> Tensor:
    return torch.ones_like(tokens.size, dtype=torch.bool) if tokens.valid is None else tokens.valid


def _joined_state(one: MethodState, other: MethodState) -> MethodState:
    for name in sorted({*one, *other}):
        alike = name in one and name in other and one[name].shape[2:] == other[name].shape[2:]
        if not alike or one[name].dtype != other[name].dtype:
            raise KeeprateError(
                f"token_state['{name}'] is not that of all tokens, and some are set aside: set it "
                "for all of them before some leave (with_token_state, then keep_top)."
            )
    return MethodState({name: torch.cat([one[name], other[name]], dim=1) for name in one})
