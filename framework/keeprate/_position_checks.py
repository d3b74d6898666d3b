"""Checks the positions that a method passes to its tokens.

Comparing shapes, types and devices costs nothing. Values are looked at when the tokens'
`ValueChecks` say so, for all faults of a call together. As that may be after the call, what is
returned are positions that exist: a wrong one would be an error of the device, after which CUDA
answers nothing more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._token_checks import check_device
from ._token_rows import merged_places, others
from ._value_checks import ValueChecks
from .errors import KeeprateError


def check_positions(what: str, index: object, batch: int, device: torch.device) -> None:
    """Raise KeeprateError unless `index` is an int64 tensor (B, K) on `device`.

    The values are not read.
    """
    if not isinstance(index, Tensor):
        raise KeeprateError(
            f"{what} must be a tensor of positions, int64 (B, K), not a {type(index).__name__}."
        )
    if index.dtype == torch.bool:
        raise KeeprateError(
            f"{what} must be positions, int64 (B, K), not a mask (torch.bool): rank by it instead, "
            "tokens.keep_top(mask.float(), k)."
        )
    if index.dtype != torch.int64:
        raise KeeprateError(
            f"{what} must be positions, int64 (B, K), not {index.dtype}: write index.long()."
        )
    if index.dim() != 2 or index.shape[0] != batch:
        raise KeeprateError(
            f"{what} must have one row for each of {batch} images, (B, K), not the shape "
            f"{tuple(index.shape)}: index.expand({batch}, -1) repeats one row."
        )
    check_device(what, index, device)


def check_kept(checks: ValueChecks, index: Tensor, valid: Tensor | None, x: Tensor) -> Tensor:
    """Return `index` (B, K); KeeprateError unless it names tokens of x, each at most once.

    Where `valid` (B, K) is False the same token may be named again.
    """
    batch, count = x.shape[:2]
    check_positions("tokens.keep: index", index, batch, x.device)
    if valid is not None and (valid.shape != index.shape or valid.dtype != torch.bool):
        raise KeeprateError(
            f"tokens.keep: valid must be boolean and like index, {tuple(index.shape)}, not "
            f"{valid.dtype} {tuple(valid.shape)}."
        )
    if not checks.looks or not index.numel():
        return index
    inside = _inside(index, count)
    named = _places(inside, count, valid)
    if any([checks.fails(lambda: inside != index), checks.fails(lambda: _named_twice(named))]):
        _refuse_outside("tokens.keep: index", index, count)
        image, position = _find_first(_times(inside, count, valid) > 1)
        raise KeeprateError(
            f"tokens.keep: index names position {position} of image {image} more than once: a "
            "token can be kept once. Where that is padding, say so: keep(index, valid=...)."
        )
    return inside


def check_absorbed(checks: ValueChecks, into: object, x: Tensor) -> Tensor:
    """Return `into` (B, N); KeeprateError unless it names, for each token of x, one that stays."""
    check_positions("tokens.absorb: into", into, x.shape[0], x.device)
    assert isinstance(into, Tensor)
    if into.shape != x.shape[:2]:
        shape = tuple(x.shape[:2])
        raise KeeprateError(
            f"tokens.absorb: into names a position for every token, {shape}, not "
            f"{tuple(into.shape)}; a token that stays names itself."
        )
    if not checks.looks or not into.numel():
        return into
    inside = into.clamp(0, x.shape[1] - 1)
    merges = inside.gather(1, inside) != inside
    if checks.fails(lambda: (inside != into) | merges):
        _refuse_outside("tokens.absorb: into", into, x.shape[1])
        image, position = _find_first(merges)
        raise KeeprateError(
            f"tokens.absorb: token {position} of image {image} merges into token "
            f"{int(into[image, position])}, which merges itself: name the one that stays."
        )
    return inside


def checked_merge(
    checks: ValueChecks, source: Tensor, into: Tensor, order: Tensor | None, x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the new place (B, N) of each token of x (B, N, C), and what stays (B, N - R).

    Each token must be in `source` (B, R) or in `order` (B, N - R), by default the rest, once, and
    `into` (B, R) must name only tokens of `order`. Raises KeeprateError for a wrong merge.
    """
    batch, count = x.shape[:2]
    for name, index in (("source", source), ("into", into), ("order", order)):
        if index is not None:
            check_positions(f"tokens.merge: {name}", index, batch, x.device)
    if into.shape != source.shape:
        raise KeeprateError(
            f"tokens.merge: into must be like source, {tuple(source.shape)}, not "
            f"{tuple(into.shape)}."
        )
    if order is None:
        source = check_source(checks, "tokens.merge", source, count)
        order = others(source, count)
    if order.shape[1] + source.shape[1] != count:
        raise KeeprateError(
            f"tokens.merge: order lists {order.shape[1]} tokens that stay and source "
            f"{source.shape[1]} that merge, of {count}."
        )
    return _places_after(checks, source, into, order)


def _places_after(
    checks: ValueChecks, source: Tensor, into: Tensor, order: Tensor
) -> tuple[Tensor, Tensor]:
    left, gone = order.shape[1], source.shape[1]
    count = left + gone
    if not checks.looks or not count:
        return merged_places(source, into, order), order
    named = torch.cat([order, source, into], dim=1)
    inside = named.clamp(0, count - 1)
    order_inside, source_inside, into_inside = (
        inside[:, :left],
        inside[:, left:count],
        inside[:, count:],
    )
    place = merged_places(source_inside, into_inside, order_inside)
    # as many are named as there are: if one is named twice, or merges into none that stays, one
    # token at least has no place
    if any([checks.fails(lambda: inside != named), checks.fails(lambda: place < 0)]):
        for what, index in (("source", source), ("into", into), ("order", order)):
            _refuse_outside(f"tokens.merge: {what}", index, count)
        _refuse_twice(_times(inside[:, :count], count), source)
        image, column = _find_first(_times(source, count).gather(1, into) > 0)
        raise KeeprateError(
            f"tokens.merge: into names position {int(into[image, column])} of image {image}, which "
            "is in source itself: merge into tokens that stay."
        )
    return place.clamp_min(0), order_inside


def check_places(checks: ValueChecks, place: object, count: int, x: Tensor) -> Tensor:
    """Return `place` (B, N), for each token of x one of `count` places; KeeprateError if not."""
    check_positions("tokens.merge_to: place", place, x.shape[0], x.device)
    assert isinstance(place, Tensor)
    if place.shape != x.shape[:2] or not 0 < count <= x.shape[1]:
        raise KeeprateError(
            f"tokens.merge_to: place names one of {count} places for every token, "
            f"{tuple(x.shape[:2])}, not {tuple(place.shape)}."
        )
    if not checks.looks:
        return place
    inside = place.clamp(0, count - 1)
    if checks.fails(lambda: inside != place):
        _refuse_outside("tokens.merge_to: place", place, count)
    return inside


def check_filled(checks: ValueChecks, size: Tensor, valid: Tensor | None) -> None:
    """Raise KeeprateError if a place of size (B, K), which is no padding, was given no token."""
    if checks.has_zero(size if valid is None else size.masked_fill(~valid, 1.0)):
        image, place = _find_first(size == 0)
        raise KeeprateError(
            f"tokens.merge_to: no token of image {image} goes to place {place} of {size.shape[1]}."
        )


def check_source(checks: ValueChecks, verb: str, source: Tensor, count: int) -> Tensor:
    """Return `source` (B, R); KeeprateError unless it names tokens of `count`, each at most once.

    The message begins with the `verb` that was given it.
    """
    if not checks.looks or not source.numel():
        return source
    inside = _inside(source, count)
    if any([checks.fails(lambda: inside != source), checks.fails(lambda: _named_twice(inside))]):
        _refuse_outside(f"{verb}: source", source, count)
        _refuse_twice(_times(inside, count), source, verb)
    return inside


def check_appended(checks: ValueChecks, source: Tensor, x: Tensor) -> Tensor:
    """Return `source` (B, R); KeeprateError unless it names tokens of x, each once, and any."""
    check_positions("tokens.append: source", source, x.shape[0], x.device)
    if source.shape[1] == 0:
        raise KeeprateError(
            "tokens.append: source names no token: what is appended holds what at least one had."
        )
    return check_source(checks, "tokens.append", source, x.shape[1])


def _inside(index: Tensor, count: int) -> Tensor:
    """Return the positions (B, K), clamped to those that exist."""
    if not count:
        raise KeeprateError("There are no tokens left to keep or merge.")
    return index.clamp(0, count - 1)


def _places(inside: Tensor, count: int, counted: Tensor | None) -> Tensor:
    """Return the positions; where they are not `counted`, numbers that no other is."""
    if counted is None:
        return inside
    apart = torch.arange(count, count + inside.shape[1], device=inside.device)
    return torch.where(counted, inside, apart)


def _named_twice(named: Tensor) -> Tensor:
    """Return, for the ascending numbers of each row (B, K), which equal the one before."""
    ascending = named.sort(dim=1).values
    return ascending[:, 1:] == ascending[:, :-1]


def _times(inside: Tensor, count: int, counted: Tensor | None = None) -> Tensor:
    """Return how often each of `count` positions is named (B, count)."""
    once = torch.ones_like(inside) if counted is None else counted.to(inside.dtype)
    return inside.new_zeros(inside.shape[0], count).scatter_add(1, inside, once)


def _refuse_outside(what: str, index: Tensor, count: int) -> None:
    outside = (index < 0) | (index >= count)
    if bool(outside.any()):
        image, column = _find_first(outside)
        raise KeeprateError(
            f"{what} names position {int(index[image, column])} of image {image}, which has "
            f"{count} tokens: positions are 0 to {count - 1}, prefix tokens first."
        )


def _refuse_twice(times: Tensor, source: Tensor, verb: str = "tokens.merge") -> None:
    if bool((times > 1).any()):
        image, position = _find_first(times > 1)
        times_in_source = int((source[image] == position).sum())
        where = ("twice in order", "in source and in order", "twice in source")[
            min(times_in_source, 2)
        ]
        raise KeeprateError(
            f"{verb}: position {position} of image {image} is {where}: a token stays or "
            "merges, once."
        )


def _find_first(wrong: Tensor) -> tuple[int, int]:
    """Return row and column of the first True of `wrong` (B, K)."""
    image, column = wrong.nonzero()[0].tolist()
    return image, column
