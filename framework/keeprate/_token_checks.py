"""Checks the positions, scores and state that a method passes to its tokens.

Comparing shapes, types and devices costs nothing. Values are looked at when the tokens'
`ValueChecks` say so, for all faults of a call together. As that may be after the call, what is
returned are positions that exist: a wrong one would be an error of the device, after which CUDA
answers nothing more. Scores that were checked before are not checked again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._token_rows import others
from ._value_checks import ValueChecks
from .errors import KeeprateError

_CHECKED_VERSION = "keeprate_numbers_in_version"
"""The attribute of a tensor of scores that holds the version in which it had no NaN."""


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
    _check_device(what, index, device)


def check_kept(checks: ValueChecks, index: Tensor, count: int, counted: Tensor | None) -> Tensor:
    """Return `index` (B, K); KeeprateError unless it names tokens of `count`, each at most once.

    Where `counted` (B, K) is False the same token may be named again.
    """
    if not checks.looks or not index.numel():
        return index
    inside, times = _count_positions(index, count, counted)
    if checks.fails(lambda: torch.cat([inside != index, times > 1], dim=1)):
        _refuse_outside("tokens.keep: index", index, count)
        image, position = _find_first(times > 1)
        raise KeeprateError(
            f"tokens.keep: index names position {position} of image {image} more than once: a "
            "token can be kept once. Where that is padding, say so: keep(index, valid=...)."
        )
    return inside


def check_merged(
    checks: ValueChecks, source: Tensor, into: Tensor, order: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the positions; KeeprateError unless a merge names every token of `count` once.

    Each token must be in `source` (B, R) or in `order` (B, N - R), and `into` (B, R) must name only
    tokens of `order`.
    """
    if not checks.looks or not source.numel() + order.numel():
        return source, into, order
    positions = torch.cat([source, order], dim=1)
    inside, times = _count_positions(positions, count, None)
    safe_source, safe_order = inside[:, : source.shape[1]], inside[:, source.shape[1] :]
    is_source = torch.zeros_like(times).scatter(1, safe_source, 1)
    target = into.clamp(0, count - 1)
    into_source = is_source.gather(1, target) > 0
    if checks.fails(
        lambda: torch.cat([inside != positions, target != into, times > 1, into_source], dim=1)
    ):
        for what, index in (("source", source), ("into", into), ("order", order)):
            _refuse_outside(f"tokens.merge: {what}", index, count)
        _refuse_twice(times, source)
        image, column = _find_first(into_source)
        raise KeeprateError(
            f"tokens.merge: into names position {int(into[image, column])} of image {image}, which "
            "is in source itself: merge into tokens that stay."
        )
    return safe_source, target, safe_order


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
) -> tuple[Tensor, Tensor, Tensor]:
    """Return source, into and the positions (B, N - R) of x (B, N, C) that stay.

    Raises KeeprateError for a wrong merge.
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
    return check_merged(checks, source, into, order, count)


def check_source(checks: ValueChecks, verb: str, source: Tensor, count: int) -> Tensor:
    """Return `source` (B, R); KeeprateError unless it names tokens of `count`, each at most once.

    The message begins with the `verb` that was given it.
    """
    if not checks.looks or not source.numel():
        return source
    inside, times = _count_positions(source, count, None)
    if checks.fails(lambda: torch.cat([inside != source, times > 1], dim=1)):
        _refuse_outside(f"{verb}: source", source, count)
        _refuse_twice(times, source, verb)
    return inside


def check_some(what: str, source: Tensor) -> None:
    """Raise KeeprateError if `source` (B, R) names no token."""
    if source.shape[1] == 0:
        raise KeeprateError(f"{what} names no token: what is appended holds what at least one had.")


def check_features(what: str, x: object, like: Tensor) -> None:
    """Raise KeeprateError unless `x` is what `like` (B, C) is: shape, type and device."""
    if not isinstance(x, Tensor) or x.shape != like.shape or x.dtype != like.dtype:
        actual = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise KeeprateError(
            f"{what} must be the features of one token of each image, {like.dtype} "
            f"{tuple(like.shape)}, not {actual}."
        )
    _check_device(what, x, like.device)


def check_scores(score: object, shape: tuple[int, int], device: torch.device) -> Tensor:
    """Return `score`, a floating-point tensor of `shape` (B, N) on `device`, or KeeprateError."""
    what = "tokens.top: score"
    if not isinstance(score, Tensor) or tuple(score.shape) != shape:
        actual = tuple(score.shape) if isinstance(score, Tensor) else f"a {type(score).__name__}"
        raise KeeprateError(
            f"{what} must be one number per token, prefix tokens included, {shape}, not {actual}."
        )
    if not score.is_floating_point():
        raise KeeprateError(
            f"{what} must be floating-point, not {score.dtype}: write score.float()."
        )
    _check_device(what, score, device)
    return score


def check_amount(k: int, patches: int) -> None:
    """Raise KeeprateError unless `k` of `patches` patch tokens can be kept."""
    if not 0 <= k <= patches:
        raise KeeprateError(f"tokens.top: k = {k} of {patches} patch tokens cannot be kept.")


def check_numbers(checks: ValueChecks, score: Tensor, ranked: Tensor) -> None:
    """Raise KeeprateError if `ranked`, the part of `score` that counts, has a NaN."""
    if not checks.looks or getattr(score, _CHECKED_VERSION, None) == _version(score):
        return
    if checks.has_nan(ranked):
        raise KeeprateError(
            "tokens.top: score is not a number (NaN) for some tokens, which cannot be ranked."
        )


def check_state(what: str, value: object, x: Tensor, rows: int) -> Tensor:
    """Return `value`, a tensor on the device of `x` (B, N, C), or KeeprateError.

    It must have a row for each image, (B, ...), if `rows` is 1, for each token, (B, N, ...), if 2.
    """
    if not isinstance(value, Tensor):
        raise KeeprateError(
            f"{what} must be a tensor, not a {type(value).__name__}: what is the same for all "
            "images is a parameter of the method."
        )
    if value.shape[:rows] != x.shape[:rows]:
        of_each = "image, (B, ...)" if rows == 1 else "token, prefix tokens included, (B, N, ...)"
        raise KeeprateError(
            f"{what} must have one row for each {of_each}: a shape that begins with "
            f"{tuple(x.shape[:rows])}, not {tuple(value.shape)}."
        )
    _check_device(what, value, x.device)
    return value


def mark_numbers(score: Tensor) -> Tensor:
    """Return `score`, marked as free of NaN as long as nothing is written into it."""
    # a compiled graph has no attributes of tensors
    if not torch.compiler.is_compiling():
        setattr(score, _CHECKED_VERSION, _version(score))
    return score


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was written to, 0 for inference tensors, which do not count it."""
    return 0 if tensor.is_inference() else tensor._version


def _check_device(what: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise KeeprateError(
            f"{what} is on {tensor.device}, the tokens are on {device}: make it with "
            "device=tokens.x.device."
        )


def _count_positions(index: Tensor, count: int, counted: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the positions (B, K), clamped to those that exist, and how often each is named."""
    if not count:
        raise KeeprateError("There are no tokens left to keep or merge.")
    inside = index.clamp(0, count - 1)
    once = torch.ones_like(index) if counted is None else counted.to(index.dtype)
    return inside, index.new_zeros(index.shape[0], count).scatter_add(1, inside, once)


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
