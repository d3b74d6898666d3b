"""What a reduced model checks while it runs: hooks that would be left out, promises broken."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from .attention import Attention, as_written
from .authors import told
from .backbones import Backbone
from .errors import KeeprateError
from .exporting import without_values
from .method import Method, Stage
from .raising import raise_explained, verb_at
from .tokens import Tokens


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
        raise KeeprateError(told(f"{where} {said}", verb_at(method, "reduce"), remedy))


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
