"""Calls a method's `score` and `reduce`, and refuses results that break a method's promises."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

import torch
from torch import OutOfMemoryError, Tensor, nn

from .._value_checks import without_values
from ..attention import Attention, chunks, joined
from ..backbone import Backbone
from ..errors import KeeprateError
from ..method import Method, Stage
from ..plugins.author_errors import (
    definition_place,
    describe_error,
    package_of,
    raise_place,
    raised_by,
    sentence,
)
from ..tokens import Tokens
from .model_code import is_foreign
from .state_faults import reuse_fault, skip_fault, state_fault


def refuse_hooked(backbone: Backbone) -> None:
    """Raise KeeprateError for forward hooks, which would not run: only parts are called."""
    for module in (backbone.model, *backbone.blocks):
        if _has_foreign_hooks(module):
            raise KeeprateError(
                f"A forward hook on the reduced model's {type(module).__name__} would never run: "
                "its parts are called one by one. Hook these, or the reduced model itself."
            )


def _has_foreign_hooks(module: nn.Module) -> bool:
    """Tell whether a module has hooks other than those that transformers registers itself."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return any(is_foreign(hook) for hook in hooks)


def checked_reduce(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
    """Return the tokens that a method's `reduce` makes of `tokens`, without autocast.

    Raises KeeprateError, with the method's name, file and line, for broken promises and for any
    exception of the method.
    """
    try:
        with as_written(tokens.x):
            reduced = method.reduce(tokens, attention, stage)
    except (Exception, SystemExit) as error:  # a method's sys.exit() must not end the study
        raise_explained(error, method, "reduce", tokens, attention, stage)
    refuse_broken(method, tokens, attention, reduced, stage)
    return reduced


def refuse_broken(
    method: Method, before: Tokens, attention: Attention, after: object, stage: Stage
) -> None:
    """Raise KeeprateError if a method broke its promise about the tokens it returns."""
    if isinstance(after, Tokens):
        faults = _shape_fault(before, after) or state_fault(after)
        faults = faults or skip_fault(method, before, after)
        faults = faults or _count_fault(method, before, after, stage)
        fault, remedy = faults or reuse_fault(method, after, attention) or ("", "")
    else:
        fault = f"returned a {type(after).__name__}, not Tokens."
        remedy = "Return what tokens.keep, tokens.keep_top or tokens.merge gives."
        remedy = "Does it lack a return?" if after is None else remedy
    if fault:
        refuse_not_finite(method, before, attention, stage)
        where = f"Method '{method.name}' at block {stage.block}"
        raise KeeprateError(sentence(f"{where} {fault}", verb_at(method, "reduce"), remedy))


def refuse_not_finite(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> None:
    """Raise KeeprateError if a method was given NaN or infinity, which no method can rank.

    It reads all values, so it is called only where something is wrong already.
    """
    given = {
        "tokens": tokens.x,
        "queries": attention.q,
        "keys": attention.k,
        "values": attention.v,
        "attention weights": attention.given_weights,
    }
    for what, values in given.items():
        if values is None or without_values(values) or bool(values.isfinite().all()):
            continue
        image = int((~values.isfinite()).flatten(1).any(dim=1).nonzero()[0])
        raise KeeprateError(
            f"The {what} of block {stage.block}, which method '{method.name}' was given, are not "
            f"finite (NaN or infinity), the first those of image {int(tokens.image[image])}: look "
            f"for such values in the image and in the weights, and for overflow in {values.dtype}."
        )


def _shape_fault(before: Tokens, after: Tokens) -> tuple[str, str] | None:
    """Say what is wrong with the shapes or prefix tokens, and the remedy; None if nothing is."""
    if after.x.shape[0] != before.x.shape[0] or after.num_prefix != before.num_prefix:
        return "changed the number of images or prefix tokens.", "Return one row per image."
    if after.size.shape != after.x.shape[:2]:
        return "returned sizes that do not fit its tokens.", "Size is (B, N), one per token."
    same = after.x.dtype == before.x.dtype and after.x.device == before.x.device
    if after.x.shape[2:] != before.x.shape[2:] or not same:
        fault = "changed the channels, the type or the device of its tokens."
        return fault, f"Tokens stay {before.x.dtype} on {before.x.device}."
    prefix = slice(after.num_prefix)
    if before.value_checks.fails(lambda: after.x[:, prefix] != before.x[:, prefix]):
        remedy = f"They are the first {before.num_prefix} of the tokens, and stay there."
        return "dropped, moved or changed prefix tokens.", remedy
    return None


def _count_fault(
    method: Method, before: Tokens, after: Tokens, stage: Stage
) -> tuple[str, str] | None:
    """Say what is wrong with the number of tokens, and the remedy; None if nothing is."""
    expected = stage.keep + method.appends
    if method.keeps_per_image and after.valid is not None:
        counts = after.valid.sum(dim=1) - after.num_prefix
        if not before.value_checks.fails(lambda: counts > expected):
            return None
        kept, at_most = int(counts.max()), "at most "
    else:
        kept, at_most = after.num_patch_tokens, ""
    if kept > expected or (not method.keeps_per_image and kept != expected):
        appended = f" and {method.appends} to append" if method.appends else ""
        fault = f"kept {kept} patch tokens where {at_most}{stage.keep}{appended} were scheduled."
        remedy = "stage.keep says how many, prefix tokens not counted."
        more = f" What it adds to them is declared: appends = {kept - stage.keep}."
        return fault, remedy + (more if kept > expected else "")
    return None


def refuse_stateful(method: Method, before: Mapping[str, object]) -> None:
    """Raise KeeprateError if a method's attributes are not those it had `before`.

    Runs that share blocks would depend on one another if a method kept data between two calls.
    """
    after = vars(method)
    # compared by identity: equality of tensors is no single truth, and would wait for the device
    changed = [name for name in after if name not in before or after[name] is not before[name]]
    if changed:
        raise KeeprateError(
            f"Method '{method.name}' changed its attribute '{changed[0]}' while it ran: a method "
            "keeps nothing between calls. What it carries from one stage to the next goes with the "
            "tokens: tokens.with_state, tokens.with_token_state."
        )


def as_written(x: Tensor) -> AbstractContextManager[object]:
    """Return a context without autocast, so that a method computes in the precision it asks for.

    `x` tells the type of the device.
    """
    device_type = x.device.type
    # torch.autocast raises for devices, such as meta, that have no autocast
    available = torch.amp.is_autocast_available(device_type)
    return torch.autocast(device_type, enabled=False) if available else nullcontext()


def checked_score(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
    """Return the method's scores (B, N), computed without autocast.

    Raises KeeprateError, with the method's name, file and line, for scores of another shape or
    type, on another device, or with NaN, and for any exception of the method.
    """
    try:
        with as_written(tokens.x):
            score = method.score(tokens, attention, stage)
    except (Exception, SystemExit) as error:
        raise_explained(error, method, "score", tokens, attention, stage)
    fault, remedy = _score_fault(score, tokens)
    if fault:
        refuse_not_finite(method, tokens, attention, stage)
        where = f"Method '{method.name}' at block {stage.block}: score"
        raise KeeprateError(sentence(f"{where} {fault}", verb_at(method, "score"), remedy))
    return score


def _score_fault(score: object, tokens: Tokens) -> tuple[str, str]:
    """Say what is wrong with scores, and the remedy; "" if nothing is."""
    shape, device = tuple(tokens.x.shape[:2]), tokens.x.device
    if not isinstance(score, Tensor) or tuple(score.shape) != shape:
        actual = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        fault = f"must be one number per token, prefix tokens included, {shape}, not {actual}."
        return fault, _shape_remedy(score, tokens)
    if not score.is_floating_point():
        return f"must be floating-point, not {score.dtype}.", "Return score.float()."
    if score.device != device:
        fault = f"is on {score.device}, the tokens are on {device}."
        return fault, "Make its tensors with device=tokens.x.device."
    if tokens.value_checks.has_nan(score):
        image, token = score.isnan().nonzero()[0].tolist()
        number = int(tokens.image[image])
        fault = f"is not a number (NaN) for some tokens, the first token {token} of image {number}."
        return fault, "Look for 0 / 0, inf - inf, and logarithms or roots of negative numbers."
    return "", ""


def _shape_remedy(score: object, tokens: Tokens) -> str:
    """Suggest how scores of a wrong shape become one number per token."""
    batch, count = tokens.x.shape[:2]
    if score is None:
        return "Does it lack a return?"
    if not isinstance(score, Tensor):
        return "Return a tensor (B, N)."
    shape = tuple(score.shape)
    if tokens.num_prefix and shape == (batch, tokens.num_patch_tokens):
        return "Scores of prefix tokens are ignored, but must be there: score all tokens."
    if score.dim() == 3 and shape[::2] == (batch, count):
        return "Combine the heads, as in score.mean(dim=1)."
    return "score.squeeze(-1) does it." if shape == (batch, count, 1) else "Return (B, N)."


def score_in_chunks(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
    """Return the scores (B, N) of a method, a chunk of images at a time, in bounded memory.

    For methods that read the block's output: by then the attention matrix was freed, so each chunk
    computes it again.
    """
    parts = (
        checked_score(method, tokens.rows(images), attention.rows(images), stage)
        for images in chunks(attention.q)
    )
    return joined(list(parts))


def raise_explained(
    error: Exception | SystemExit,
    method: Method,
    verb: str,
    tokens: Tokens,
    attention: Attention,
    stage: Stage,
) -> NoReturn:
    """Raise one KeeprateError that explains an `error` of a method's `verb` and where it happened.

    Three kinds of error are raised unchanged: a KeeprateError that the method itself raised, out of
    memory, and any error while a model is traced.
    """
    raise_unexplained(error, method)
    refuse_not_finite(method, tokens, attention, stage)
    raise_located(error, method, verb, tokens, f" at block {stage.block}")


def raise_unexplained(error: Exception | SystemExit, method: Method) -> None:
    """Raise an error again that needs no explanation: see `raise_explained`."""
    own = isinstance(error, KeeprateError) and raised_by(error, package_of(type(method)))
    # callers split the batch when memory runs out, and recognise it by the original error
    memory = isinstance(error, MemoryError | OutOfMemoryError) or "memory" in str(error).lower()
    if own or memory or torch.compiler.is_compiling():
        raise error


def raise_located(
    error: Exception | SystemExit, method: Method, verb: str, tokens: Tokens, at: str
) -> NoReturn:
    """Raise a KeeprateError that says where a method's `verb` raised `error`, and for what."""
    description, remedy = describe_error(error)
    where = f"Method '{method.name}'{at}: {verb}"
    if isinstance(error, KeeprateError):
        message = f"{where}: {description}"
    else:
        message, remedy = f"{where} raised {description}", _describe_shapes(tokens)
    location = raise_place(error, package_of(type(method))) or verb_at(method, verb)
    raise KeeprateError(sentence(message, location, remedy)) from error


def verb_at(method: Method, verb: str) -> str:
    """Return "FILE:LINE" of a method's `score` or `reduce`, "" if that is not known.

    A method that inherits `verb` from `Method` gives the line of its class, and a method made from
    a function gives the line of the function.
    """
    cls = type(method)
    if getattr(cls, verb) is getattr(Method, verb):
        return definition_place(cls)
    return definition_place(getattr(cls, "function", None) or getattr(cls, verb))


def _describe_shapes(tokens: Tokens) -> str:
    prefix = f"{tokens.num_prefix} of them prefix tokens"
    batch, count, channels = tokens.x.shape
    return f"There were {batch} images, {count} tokens ({prefix}), {channels} channels."
