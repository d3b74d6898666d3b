"""Watch a method at work: every call, what it was given, what it read and what it returned."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..attention import Attention
from ..method import Method, Needs, Stage, has_score
from ..tokens import Tokens

Around = Callable[["Call"], AbstractContextManager[object]]
Lens = Callable[[Tokens, Attention], tuple[Tokens, Attention]]


@dataclass
class Call:
    """One call of `score` or `reduce`: what went in, what came out, or the `error` raised."""

    function: Literal["score", "reduce"]
    tokens: Tokens
    attention: Attention
    stage: Stage
    result: Any = None
    error: Exception | None = None


@dataclass
class _Watch:
    around: Around
    lens: Lens
    calls: list[Call] = field(default_factory=list)
    is_inside: bool = False

    def call(self, function: Literal["score", "reduce"], original: Any, given: Any) -> Any:
        """Pass a call on; one that the method itself makes of its other function is not watched."""
        if self.is_inside:
            return original(*given)
        seen = Call(function, *self.lens(*given[:2]), given[2])
        self.calls.append(seen)
        self.is_inside = True
        try:
            with self.around(seen):
                seen.result = original(seen.tokens, seen.attention, seen.stage)
        except Exception as error:
            seen.error = error
            raise
        finally:
            self.is_inside = False
        return seen.result


def watched(
    method: Method, around: Around | None = None, lens: Lens | None = None
) -> tuple[Method, list[Call]]:
    """Return a copy of a method whose calls are recorded in the list that comes with it.

    `around` makes a context that every call runs in, `lens` what it gets to see as its tokens and
    its attention.
    """
    watch = _Watch(around or (lambda call: nullcontext()), lens or (lambda *given: given))
    cls: Any = type(method)

    def reduce(self: Method, *given: object) -> Any:
        return watch.call("reduce", super(same, self).reduce, given)

    def score(self: Method, *given: object) -> Any:
        return watch.call("score", super(same, self).score, given)

    for wrapper in (reduce, score):  # so that messages name the author's line
        wrapper.__dict__["__wrapped__"] = getattr(cls, wrapper.__name__)
    functions: dict[str, Any] = {"reduce": reduce, "__module__": cls.__module__}
    if has_score(method):
        functions["score"] = score
    same: Any = type(cls.__name__, (cls,), functions)
    twin = copy.copy(method)
    object.__setattr__(twin, "__class__", same)
    return twin, watch.calls


def all_alike(tokens: Tokens, attention: Attention) -> tuple[Tokens, Attention]:
    """Give a method patch tokens that are equal, bit for bit, within each image.

    Equal images are not enough: many a processor rounds the rows of a product differently, so that
    what the model makes of them is equal but for its last bits. Numbers are rounded to `GRID` as
    well, of which products and their sums are exact in float64, in whatever order they are summed.
    """
    prefix = tokens.num_prefix
    same = replace(
        attention,
        q=_alike(attention.q, prefix),
        k=_alike(attention.k, prefix),
        v=_alike(attention.v, prefix),
        x_pre=_alike(attention.x_pre, prefix),
        given_weights=None,  # computed again, from these
    )
    return tokens.with_x(_alike(tokens.x, prefix)), same


GRID = 2.0**-8
"""What numbers of tokens that are all alike are multiples of."""


def _alike(x: Tensor, prefix: int) -> Tensor:
    """Return x (..., N, C) with the first of its patch tokens in place of all."""
    first = (x[..., prefix : prefix + 1, :] / GRID).round() * GRID
    patches = first.expand(*x.shape[:-2], x.shape[-2] - prefix, -1)
    return torch.cat([x[..., :prefix, :], patches], dim=-2)


LEVELS = {
    "q": Needs.KEYS,
    "k": Needs.KEYS,
    "v": Needs.KEYS,
    "x_pre": Needs.KEYS,
    "mask": Needs.KEYS,
    "bias": Needs.KEYS,
    "class_row": Needs.CLASS_ROW,
    "weights": Needs.WEIGHTS,
}
"""What may be read of the attention, and the need that has to be declared for it."""


class ReadAttention(Attention):
    """Attention that writes down what is read of it, in `log`."""

    log: set[str]

    @classmethod
    def of(cls, attention: Attention, log: set[str]) -> ReadAttention:
        """Return what stands for `attention` and writes into `log`."""
        given = {each.name: getattr(attention, each.name) for each in fields(attention)}
        read = cls(**given)
        read.__dict__["log"] = log
        return read

    def __getattribute__(self, name: str) -> Any:
        if name not in LEVELS:
            return super().__getattribute__(name)
        log = self.__dict__.get("log")
        if log is None:
            return super().__getattribute__(name)
        log.add(name)
        del self.__dict__["log"]  # what is read on the way is not the method's doing
        try:
            return super().__getattribute__(name)
        finally:
            self.__dict__["log"] = log

    def rows(self, images: slice) -> Attention:
        """Return the attention of some images, which writes into the same log."""
        log = self.__dict__.pop("log")
        try:
            part = super().rows(images)
        finally:
            self.__dict__["log"] = log
        part.__dict__["log"] = log
        return part
