"""What a reduced model checks while it runs: hooks that would be left out, promises broken."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from .backbones import Backbone
from .errors import KeeprateError
from .method import Method, Stage
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


def refuse_broken(method: Method, before: Tokens, after: Tokens, stage: Stage) -> None:
    """Raise KeeprateError if a method broke its promise about the tokens it returns."""
    where = f"Method '{method.name}' at block {stage.block}"
    if not isinstance(after, Tokens):
        raise KeeprateError(f"{where} returned a {type(after).__name__}, not Tokens.")
    if len(after.x) != len(before.x) or after.num_prefix != before.num_prefix:
        raise KeeprateError(f"{where} changed the number of images or prefix tokens.")
    if after.size.shape != after.x.shape[:2]:
        raise KeeprateError(f"{where} returned sizes that do not fit its tokens.")
    prefix = slice(after.num_prefix)
    if not after.x.is_meta and not after.x[:, prefix].equal(before.x[:, prefix]):
        raise KeeprateError(f"{where} dropped, moved or changed prefix tokens.")
    if method.keeps_per_image and after.valid is not None:
        left, most = int(after.valid.sum(dim=1).max()) - after.num_prefix, "at most "
    else:
        left, most = after.num_patch_tokens, ""
    if left > stage.keep or (not method.keeps_per_image and left != stage.keep):
        raise KeeprateError(
            f"{where} kept {left} patch tokens where {most}{stage.keep} were scheduled."
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
