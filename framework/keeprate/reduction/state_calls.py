"""Calls what a method does besides scoring and reducing: `prepare`, `observe` and `reweigh`."""

from __future__ import annotations

from torch import Tensor

from ..attention import Attention
from ..errors import KeeprateError
from ..method import Method, Stage
from ..plugins.author_errors import sentence
from ..tokens import Tokens
from .method_calls import (
    as_written,
    raise_explained,
    raise_located,
    raise_unexplained,
    verb_at,
)
from .state_faults import change_fault


def checked_prepare(method: Method, tokens: Tokens) -> Tokens:
    """Return the tokens that a method's `prepare` makes of those that enter the first block.

    Raises KeeprateError, with the method's name, file and line, if anything but a state differs,
    and for any exception of the method.
    """
    try:
        with as_written(tokens.x):
            prepared = method.prepare(tokens)
    except (Exception, SystemExit) as error:
        raise_unexplained(error, method)
        raise_located(error, method, "prepare", tokens, "")
    _refuse_changed(method, "prepare", tokens, prepared, "")
    return prepared


def checked_observe(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
    """Return the tokens with what a method observes; raises KeeprateError as `checked_prepare`."""
    try:
        with as_written(tokens.x):
            observed = method.observe(tokens, attention, stage)
    except (Exception, SystemExit) as error:
        raise_explained(error, method, "observe", tokens, attention, stage)
    _refuse_changed(method, "observe", tokens, observed, f" at block {stage.block}")
    return observed


def checked_weights(method: Method, weights: Tensor, tokens: Tokens) -> Tensor:
    """Return the attention weights (B, H, N, N) that a method's `reweigh` makes of `weights`.

    Raises KeeprateError for weights of another shape or type, and for any exception of the method.
    """
    try:
        with as_written(weights):
            reweighed: object = method.reweigh(weights, tokens)
    except (Exception, SystemExit) as error:
        raise_unexplained(error, method)
        raise_located(error, method, "reweigh", tokens, "")
    same = isinstance(reweighed, Tensor) and reweighed.shape == weights.shape
    if not isinstance(reweighed, Tensor) or not same or reweighed.dtype != weights.dtype:
        fault = f"Method '{method.name}': reweigh must return {weights.dtype} weights"
        place = verb_at(method, "reweigh")
        raise KeeprateError(sentence(f"{fault} {tuple(weights.shape)}.", place, ""))
    return reweighed


def checked_key_weights(method: Method, tokens: Tokens) -> Tensor | None:
    """Return what each token counts for as a key, (B, N), or None; raises as `checked_weights`."""
    try:
        with as_written(tokens.x):
            weights: object = method.key_weights(tokens)
    except (Exception, SystemExit) as error:
        raise_unexplained(error, method)
        raise_located(error, method, "key_weights", tokens, "")
    if weights is None or (isinstance(weights, Tensor) and weights.shape == tokens.size.shape):
        return weights
    fault = f"Method '{method.name}': key_weights must return one number for each token"
    place = verb_at(method, "key_weights")
    raise KeeprateError(sentence(f"{fault}, {tuple(tokens.size.shape)}, or None.", place, ""))


def _refuse_changed(method: Method, verb: str, before: Tokens, after: Tokens, at: str) -> None:
    fault = change_fault(before, after)
    if fault:
        message = f"Method '{method.name}'{at}: {verb} {fault[0]}"
        raise KeeprateError(sentence(message, verb_at(method, verb), fault[1]))
