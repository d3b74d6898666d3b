"""Says what is wrong with what a method's tokens carry along, and the remedy."""

from __future__ import annotations

from dataclasses import fields

from torch import Tensor

from .._token_state import MethodState
from ..attention import Attention
from ..method import Method, Reuse
from ..tokens import Tokens

_STATES = ("state", "token_state")


def state_fault(after: Tokens) -> tuple[str, str] | None:
    """Say what is wrong with what a method carries along, and the remedy; None if nothing is."""
    for name, rows in (("state", 1), ("token_state", 2)):
        state = getattr(after, name)
        # anything else was not checked, and could be written into while other runs hold it
        if not isinstance(state, MethodState):
            fault = f"returned tokens whose {name} is a {type(state).__name__}."
            return fault, f"Return tokens.with_{name}(NAME=TENSOR)."
        for key, tensor in state.items():
            actual, expected = tuple(tensor.shape), tuple(after.x.shape[:rows])
            if actual[:rows] != expected:
                fault = f"returned {name}['{key}'] {actual} for tokens {expected}."
                return fault, "keep, keep_top and merge of the tokens that carry it take it along."
    return None


def change_fault(before: Tokens, after: object) -> tuple[str, str] | None:
    """Say what a function changed that may only set a state; None if it changed nothing else."""
    if not isinstance(after, Tokens):
        return f"returned a {type(after).__name__}, not Tokens.", "Return the tokens it was given."
    for field in fields(before):
        # by identity: equality of tensors would wait for the device
        same = getattr(after, field.name) is getattr(before, field.name)
        if field.name not in _STATES and not same:
            fault = f"returned tokens with another {field.name}."
            return fault, "Only tokens.with_state and tokens.with_token_state may be used here."
    return state_fault(after)


def skip_fault(method: Method, before: Tokens, after: Tokens) -> tuple[str, str] | None:
    """Say how many tokens of a method that skips are neither kept nor aside; None if all are."""
    if not method.skips:
        return None
    lost = _with_aside(before) - _with_aside(after)
    lost = int(lost.max()) if isinstance(lost, Tensor) else lost
    if lost <= 0:
        return None
    fault = f"skips, and {lost} of the tokens it was given are neither kept nor set aside."
    return fault, "tokens.keep and tokens.keep_top set aside what they do not keep."


def _with_aside(tokens: Tokens) -> int | Tensor:
    return tokens.counts if tokens.aside is None else tokens.counts + tokens.aside.counts


def reuse_fault(method: Method, after: Tokens, seen: Attention) -> tuple[str, str] | None:
    """Say what is wrong with the attention that a block is to reuse, which `seen` is of."""
    reused = after.reused
    actual = Reuse.NOTHING
    if reused is not None:
        actual = Reuse.WEIGHTS if reused.v is None else Reuse.VALUES
    if actual != method.reuses:
        fault = f"declares reuses = {Reuse(method.reuses).name} and returned tokens that reuse "
        fault += f"{actual.name.lower()}."
        return fault, "tokens.reuse(weights) reuses WEIGHTS, tokens.reuse(weights, v) VALUES."
    if reused is None:
        return None
    images, heads, _, width = seen.v.shape
    keys = after.count if reused.v is None else reused.v.shape[-2]
    given = {"weights": (reused.weights, (images, heads, after.count, keys))}
    if reused.v is not None:
        given["values"] = reused.v, (images, heads, keys, width)
    for what, (tensor, expected) in given.items():
        if tensor.shape != expected:
            fault = f"reuses attention {what} {tuple(tensor.shape)}, not {expected}."
            return fault, "Weights have one row for each token that leaves, and one column a value."
    return None
