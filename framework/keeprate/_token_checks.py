"""Checks the scores, features and state that a method passes to its tokens.

Comparing shapes, types and devices costs nothing. Scores are looked at when the tokens'
`ValueChecks` say so; those that were checked before are not looked at again.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._value_checks import ValueChecks
from .errors import KeeprateError

_CHECKED_VERSION = "keeprate_numbers_in_version"
"""The attribute of a tensor of scores that holds the version in which it had no NaN."""


def check_features(what: str, x: object, like: Tensor) -> None:
    """Raise KeeprateError unless `x` is what `like` (B, C) is: shape, type and device."""
    if not isinstance(x, Tensor) or x.shape != like.shape or x.dtype != like.dtype:
        actual = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise KeeprateError(
            f"{what} must be the features of one token of each image, {like.dtype} "
            f"{tuple(like.shape)}, not {actual}."
        )
    check_device(what, x, like.device)


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
    check_device(what, score, device)
    return score


def check_amount(k: int, patches: int) -> None:
    """Raise KeeprateError unless `k` of `patches` patch tokens can be kept."""
    if not 0 <= k <= patches:
        raise KeeprateError(f"tokens.top: k = {k} of {patches} patch tokens cannot be kept.")


def check_numbers(
    checks: ValueChecks, score: Tensor, valid: Tensor | None, num_prefix: int
) -> None:
    """Raise KeeprateError if the part of `score` (B, N) that is ranked has a NaN."""
    if not checks.looks or getattr(score, _CHECKED_VERSION, None) == _version(score):
        return
    patches = (score if valid is None else score.masked_fill(~valid, 0))[:, num_prefix:]
    if checks.has_nan(patches):
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
    check_device(what, value, x.device)
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


def check_device(what: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise KeeprateError(
            f"{what} is on {tensor.device}, the tokens are on {device}: make it with "
            "device=tokens.x.device."
        )
