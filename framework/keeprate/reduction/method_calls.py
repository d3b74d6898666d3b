"""What a reduced model checks while it runs: hooks that would be left out, promises broken."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import NoReturn

import torch
from torch import OutOfMemoryError, Tensor, nn

from .._token_checks import without_values
from ..attention import Attention, chunks
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


def refuse_hooked(backbone: Backbone) -> None:
    """Raise KeeprateError for forward hooks that would not run, since only parts are called."""
    for module in (backbone.model, *backbone.blocks):
        if _has_foreign_hooks(module):
            raise KeeprateError(
                f"A forward hook on the reduced model's {type(module).__name__} would never run: "
                "its parts are called one by one. Hook these, or the reduced model itself."
            )


def _has_foreign_hooks(module: nn.Module) -> bool:
    """Tell whether a module has hooks other than those transformers leaves behind."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    return any(not getattr(hook, "__module__", "").startswith("transformers.") for hook in hooks)


def checked_reduce(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tokens:
    """Return what a method makes of the tokens, computed as it is written even under autocast.

    Raises KeeprateError naming the method, file and line for broken promises, and for whatever the
    method raises.
    """
    try:
        with as_written(tokens.x):
            reduced = method.reduce(tokens, attention, stage)
    except (Exception, SystemExit) as error:
        raise_explained(error, method, "reduce", tokens, stage)
    refuse_broken(method, tokens, reduced, stage)
    return reduced


def refuse_broken(method: Method, before: Tokens, after: object, stage: Stage) -> None:
    """Raise KeeprateError if a method broke its promise about the tokens it returns."""
    if isinstance(after, Tokens):
        said, remedy = _misshapen(before, after) or _miscounted(method, after, stage)
    else:
        said = f"returned a {type(after).__name__}, not Tokens."
        remedy = "Return what tokens.keep, tokens.keep_top or tokens.merge gives."
        remedy = "Does it lack a return?" if after is None else remedy
    if said:
        where = f"Method '{method.name}' at block {stage.block}"
        raise KeeprateError(sentence(f"{where} {said}", verb_at(method, "reduce"), remedy))


def _misshapen(before: Tokens, after: Tokens) -> tuple[str, str] | None:
    if after.x.shape[0] != before.x.shape[0] or after.num_prefix != before.num_prefix:
        return "changed the number of images or prefix tokens.", "Return one row per image."
    if after.size.shape != after.x.shape[:2]:
        return "returned sizes that do not fit its tokens.", "Size is (B, N), one per token."
    same = after.x.dtype == before.x.dtype and after.x.device == before.x.device
    if after.x.shape[2:] != before.x.shape[2:] or not same:
        said = "changed the channels, the type or the device of its tokens."
        return said, f"Tokens stay {before.x.dtype} on {before.x.device}."
    prefix = slice(after.num_prefix)
    if not without_values(after.x) and not after.x[:, prefix].equal(before.x[:, prefix]):
        remedy = f"They are the first {before.num_prefix} of the tokens, and stay there."
        return "dropped, moved or changed prefix tokens.", remedy
    return None


def _miscounted(method: Method, after: Tokens, stage: Stage) -> tuple[str, str]:
    if method.keeps_per_image and after.valid is not None:
        left, most = int(after.valid.sum(dim=1).max()) - after.num_prefix, "at most "
    else:
        left, most = after.num_patch_tokens, ""
    if left > stage.keep or (not method.keeps_per_image and left != stage.keep):
        said = f"kept {left} patch tokens where {most}{stage.keep} were scheduled."
        return said, "stage.keep says how many, prefix tokens not counted."
    return "", ""


def refuse_to_export(method: Method) -> None:
    """Raise KeeprateError where `torch.export` traces a method whose shapes differ by image."""
    if method.keeps_per_image and torch.compiler.is_exporting():
        raise KeeprateError(
            f"Method '{method.name}' keeps a different number of tokens in every image, and what "
            "torch.export traces has fixed shapes: run the model as it is."
        )


def refuse_stateful(method: Method, before: Mapping[str, object]) -> None:
    """Raise KeeprateError if a method's attributes are not those it had `before`.

    What a method kept between two calls would make runs that share blocks depend on one another.
    """
    after = vars(method)
    changed = [name for name in after if name not in before or after[name] is not before[name]]
    if changed:
        raise KeeprateError(
            f"Method '{method.name}' changed its attribute '{changed[0]}' while it ran: a method "
            "keeps nothing between calls."
        )


def as_written(x: Tensor) -> AbstractContextManager[object]:
    """Return a context in which autocast leaves a method's own products in their precision."""
    kind = x.device.type
    available = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if available else nullcontext()


def checked_score(method: Method, tokens: Tokens, attention: Attention, stage: Stage) -> Tensor:
    """Return the method's scores (B, N), computed as it is written even under autocast.

    Raises KeeprateError naming the method, file and line for scores of another shape or type, on
    another device, or that are not numbers (looking at them waits for the device, once), and for
    whatever the method raises.
    """
    try:
        with as_written(tokens.x):
            score = method.score(tokens, attention, stage)
    except (Exception, SystemExit) as error:
        raise_explained(error, method, "score", tokens, stage)
    said, remedy = _unfit(score, tokens)
    if said:
        where = f"Method '{method.name}' at block {stage.block}: score"
        raise KeeprateError(sentence(f"{where} {said}", verb_at(method, "score"), remedy))
    return score


def _unfit(score: object, tokens: Tokens) -> tuple[str, str]:
    """Say what is wrong with scores, and the remedy; "" if nothing is."""
    shape, device = tuple(tokens.x.shape[:2]), tokens.x.device
    if not isinstance(score, Tensor) or tuple(score.shape) != shape:
        found = tuple(score.shape) if isinstance(score, Tensor) else type(score).__name__
        said = f"must be one number per token, prefix tokens included, {shape}, not {found}."
        return said, _shape_remedy(score, tokens)
    if not score.is_floating_point():
        return f"must be floating-point, not {score.dtype}.", "Return score.float()."
    if score.device != device:
        said = f"is on {score.device}, the tokens are on {device}."
        return said, "Make its tensors with device=tokens.x.device."
    if not without_values(score) and bool(score.isnan().any()):
        image, token = score.isnan().nonzero()[0].tolist()
        number = int(tokens.image[image])
        said = f"is not a number (NaN) for some tokens, the first token {token} of image {number}."
        return said, "Look for 0 / 0, inf - inf, and logarithms or roots of negative numbers."
    return "", ""


def _shape_remedy(score: object, tokens: Tokens) -> str:
    """Say how scores of another shape probably become one per token."""
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
    """Return the scores (B, N) of a method that reads the block's output, in bounded memory.

    The attention matrix is gone by then and is computed again, a chunk of images at a time.
    """
    parts = (
        checked_score(method, tokens.rows(images), attention.rows(images), stage)
        for images in chunks(attention.q)
    )
    return torch.cat(list(parts))


def raise_explained(
    error: Exception | SystemExit, method: Method, verb: str, tokens: Tokens, stage: Stage
) -> NoReturn:
    """Raise what a method's `verb` raised as one KeeprateError that says where it happened.

    What the method says to its user itself (a KeeprateError of its own), the memory's end and what
    is raised while a model is traced pass as they are.
    """
    package = package_of(type(method))
    own = isinstance(error, KeeprateError) and raised_by(error, package)
    memory = isinstance(error, MemoryError | OutOfMemoryError) or "memory" in str(error).lower()
    if own or memory or torch.compiler.is_compiling():
        raise error
    said, remedy = describe_error(error)
    where = f"Method '{method.name}' at block {stage.block}: {verb}"
    if isinstance(error, KeeprateError):
        said = f"{where}: {said}"
    else:
        said, remedy = f"{where} raised {said}", _shapes(tokens)
    place = raise_place(error, package) or verb_at(method, verb)
    raise KeeprateError(sentence(said, place, remedy)) from error


def verb_at(method: Method, verb: str) -> str:
    """Return "FILE:LINE" of a method's `score` or `reduce`, "" where that is not known.

    Of a method that leaves it to `Method`, or is made of a function, of the class or the function.
    """
    cls = type(method)
    if getattr(cls, verb) is getattr(Method, verb):
        return definition_place(cls)
    return definition_place(getattr(cls, "function", None) or getattr(cls, verb))


def _shapes(tokens: Tokens) -> str:
    prefix = f"{tokens.num_prefix} of them prefix tokens"
    batch, count, channels = tokens.x.shape
    return f"There were {batch} images, {count} tokens ({prefix}), {channels} channels."
