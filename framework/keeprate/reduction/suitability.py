"""Tells whether a method can act on a model, and refuses it with the reason if not."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from ..backbone import Backbone
from ..errors import KeeprateError
from ..method import Method, Place, Reuse, Stage, has_score
from ..plugins.parameters import parameters_of
from ..resizing import InputMethod
from .macs import shape_of


class UnfitError(KeeprateError):
    """A method cannot act on this model, or not at these stages, by what it says itself."""


def refuse_unsuited(backbone: Backbone, method: Method) -> None:
    """Raise KeeprateError if `method` does nothing or cannot act on `backbone`."""
    _refuse_undeclared(method)
    lack = _lack(backbone, method)
    if lack is _Lack.SIZES:
        kind = "texts" if backbone.text_inputs else "another size of images and patches"
        raise KeeprateError(
            f"Method '{method.name}' makes images smaller or patches larger, and backbone "
            f"'{backbone.name}' has no rule for {kind}: this {type(backbone.model).__name__} "
            "cannot be compared with it."
        )
    if lack is _Lack.PLACE:
        raise KeeprateError(
            f"Method '{method.name}' acts {method.place}, and in the blocks of this "
            f"{type(backbone.model).__name__} attention and MLP run side by side. "
            f"Methods that would work: {', '.join(_acting_at(backbone))}."
        )
    if lack is _Lack.CLASS_TOKEN:
        raise KeeprateError(
            f"Method '{method.name}' needs a class token, and this {type(backbone.model).__name__} "
            f"has none. Methods that would work: {', '.join(_without_class_token(backbone))}."
        )
    if lack is _Lack.WEIGHTS:
        raise UnfitError(
            f"Method '{method.name}' needs weights=FILE: the checkpoint of a model that was "
            "trained with it."
        )
    refuse_unfit(backbone, method, backbone.image_size, ())


def _refuse_undeclared(method: Method) -> None:
    """Raise KeeprateError if a method does nothing, or declares what cannot be."""
    acts = has_score(method) or type(method).reduce is not Method.reduce
    if method.reduces and not acts and not isinstance(method, InputMethod):
        raise KeeprateError(
            f"Method '{method.name}' implements neither score nor reduce. "
            "Define one of them, by this very name."
        )
    appends: object = method.appends
    if isinstance(appends, bool) or not isinstance(appends, int) or appends < 0:
        raise KeeprateError(
            f"Method '{method.name}' declares appends = {appends!r}: it is a number of tokens, "
            "0 for none."
        )
    _refuse_undeclared_skips(method)
    if method.reuses != Reuse.NOTHING and method.place is not Place.BEFORE_BLOCK:
        raise KeeprateError(
            f"Method '{method.name}' declares reuses = {method.reuses!r} and acts {method.place}: "
            "only what acts before a block has its attention to reuse (Place.BEFORE_BLOCK)."
        )


def _refuse_undeclared_skips(method: Method) -> None:
    """Raise KeeprateError if what a method declares of tokens that come back cannot be."""
    back: object = method.back
    ascending = isinstance(back, tuple) and all(type(block) is int for block in back)
    if not ascending or list(method.back) != sorted(set(method.back)) or 0 in method.back[:1]:
        raise KeeprateError(
            f"Method '{method.name}' declares back = {back!r}: it is a tuple of blocks, from 1 and "
            "ascending, before which all tokens come back; () for before the head alone."
        )
    if back and not method.skips:
        raise KeeprateError(
            f"Method '{method.name}' declares back = {back!r} and sets nothing aside: only what "
            "skips comes back (skips = True)."
        )
    if method.skips and method.appends:
        raise KeeprateError(
            f"Method '{method.name}' skips and appends {method.appends} to what it keeps: a token "
            "that comes back cannot be in an appended one as well. Do one of the two."
        )


def refuse_unfit(
    backbone: Backbone, method: Method, image_size: tuple[int, int], stages: Sequence[Stage]
) -> None:
    """Raise UnfitError if `method` says that it cannot act on `backbone` at the stages."""
    reason = _unfit(backbone, method, image_size, stages)
    if reason:
        raise UnfitError(f"Method '{method.name}' {reason}.")


def suits(backbone: Backbone, method: Method) -> bool:
    """Tell whether `backbone` has what `method` declares that it needs."""
    lacks = _lack(backbone, method) is not None
    return not lacks and not _unfit(backbone, method, backbone.image_size, ())


def _unfit(
    backbone: Backbone, method: Method, image_size: tuple[int, int], stages: Sequence[Stage]
) -> str:
    """Return why `method` cannot act at the stages, as `Method.unfit` does; "" if it can."""
    back: object = method.back
    last = back[-1] if isinstance(back, tuple) and back else 0  # others are refused as undeclared
    if last >= backbone.depth:
        return (
            f"brings tokens back before block {last}, and the blocks are 0 to "
            f"{backbone.depth - 1}; before the head they come back in any case"
        )
    return method.unfit(shape_of(backbone, backbone.num_patches(image_size)), stages)


class _Lack(Enum):
    """What a method needs and does not get."""

    PLACE = auto()
    """A place between the two halves of its blocks."""
    SIZES = auto()
    """A rule for other sizes of images and patches."""
    CLASS_TOKEN = auto()
    WEIGHTS = auto()
    """The file that its parameter `weights` names."""


def _lack(backbone: Backbone, method: Method) -> _Lack | None:
    if isinstance(method, InputMethod):
        return None if backbone.resizable else _Lack.SIZES
    if method.reduces and method.place not in backbone.places:
        return _Lack.PLACE
    if method.requires_class_token and not backbone.has_class_token:
        return _Lack.CLASS_TOKEN
    if method.requires_weights and getattr(method, "weights", None) is None:
        return _Lack.WEIGHTS
    return None


def _ready(backbone: Backbone) -> list[type[Method]]:
    """Return the methods that reduce and need no more than their name, on such a model."""
    # imported here: the registry loads every plugin, which only these error messages need
    from ..plugins.registry import registry

    classes = [offer.cls for offer in registry().methods.values()]
    return [
        cls
        for cls in classes
        if cls.reduces
        and not cls.requires_weights
        and (backbone.resizable or not issubclass(cls, InputMethod))
    ]


def _acting_at(backbone: Backbone) -> list[str]:
    found = []
    for cls in _ready(backbone):
        if issubclass(cls, InputMethod) or cls.place in backbone.places:
            found.append(cls.name)
        elif any(parameter.name == "place" for parameter in parameters_of(cls)):
            found.append(f"{cls.name}:place={Place.AFTER_BLOCK}")
    return found


def _without_class_token(backbone: Backbone) -> list[str]:
    return [cls.name for cls in _ready(backbone) if not cls.requires_class_token]
