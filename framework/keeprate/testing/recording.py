"""Watch a method at work: the arguments, the reads and the result of every call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from ..attention import Attention
from ..method import Method, Needs, Stage, has_score
from ..tokens import IMAGE_FIELDS, Tokens

Around = Callable[["Call"], AbstractContextManager[object]]
Lens = Callable[[Tokens, Attention], tuple[Tokens, Attention]]


@dataclass
class Call:
    """One call of `score` or `reduce`: its arguments, and its result or the `error` raised."""

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

    def call(self, function: Literal["score", "reduce"], original: Any, arguments: Any) -> Any:
        """Pass a call on and record it, unless the method calls its own other function."""
        if self.is_inside:
            return original(*arguments)
        call = Call(function, *self.lens(*arguments[:2]), arguments[2])
        self.calls.append(call)
        self.is_inside = True
        try:
            with self.around(call):
                call.result = original(call.tokens, call.attention, call.stage)
        except Exception as error:
            call.error = error
            raise
        finally:
            self.is_inside = False
        return call.result


def watched(
    method: Method, around: Around | None = None, lens: Lens | None = None
) -> tuple[Method, list[Call]]:
    """Return a copy of a method, and a list in which the calls of the copy are recorded.

    `around` makes a context that every call runs in. `lens` returns the tokens and the attention
    that the call gets in place of its own.
    """
    watch = _Watch(around or (lambda call: nullcontext()), lens or (lambda *arguments: arguments))
    cls: Any = type(method)

    def reduce(self: Method, *arguments: object) -> Any:
        return watch.call("reduce", super(watched_class, self).reduce, arguments)

    def score(self: Method, *arguments: object) -> Any:
        return watch.call("score", super(watched_class, self).score, arguments)

    # `__wrapped__` leads error messages to the author's line
    for wrapper in (reduce, score):
        wrapper.__dict__["__wrapped__"] = getattr(cls, wrapper.__name__)
    functions: dict[str, Any] = {"reduce": reduce, "__module__": cls.__module__}
    # a subclass that has `score` would make any method look like one that ranks
    if has_score(method):
        functions["score"] = score
    watched_class: Any = type(cls.__name__, (cls,), functions)
    # a subclass, not a wrapper object: the rest of keeprate must see the same method.
    # `object.__setattr__`, because the method's class may refuse assignments
    copied = copy.copy(method)
    object.__setattr__(copied, "__class__", watched_class)
    return copied, watch.calls


def tensors_of(tokens: Tokens, names: Iterable[str] = IMAGE_FIELDS) -> dict[str, Tensor]:
    """Return the tensors of the fields `names` by name, those of a state as `state['NAME']`."""
    values: dict[str, object] = {}
    for name in names:
        value = getattr(tokens, name)
        if isinstance(value, Mapping):
            values |= {f"{name}[{key!r}]": entry for key, entry in value.items()}
        else:
            values[name] = value
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def all_alike(tokens: Tokens, attention: Attention) -> tuple[Tokens, Attention]:
    """Make the patch tokens of each image equal to the last bit.

    Patches of one colour are not enough: some processors round the rows of a product differently,
    so that the model's tokens differ in their last bits. Numbers are rounded to multiples of `GRID`
    as well, so that products and their sums are exact in float64, in any order of summation.
    """
    prefix = tokens.num_prefix
    alike_attention = replace(
        attention,
        q=_alike(attention.q, prefix),
        k=_alike(attention.k, prefix),
        v=_alike(attention.v, prefix),
        x_pre=_alike(attention.x_pre, prefix),
        given_weights=None,  # computed again, from these
    )
    return tokens.with_x(_alike(tokens.x, prefix)), alike_attention


GRID = 2.0**-8
"""Numbers of tokens that are all alike are multiples of this one."""


def _alike(x: Tensor, prefix: int) -> Tensor:
    """Return x (..., N, C) with the first patch token in place of all patch tokens."""
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
"""The attributes of the attention, each with the need that a method must declare to read it."""


class ReadAttention(Attention):
    """Attention that records in `log` which attributes are read."""

    log: set[str]

    @classmethod
    def of(cls, attention: Attention, log: set[str]) -> ReadAttention:
        """Return a copy of `attention` that records its reads in `log`."""
        values = {f.name: getattr(attention, f.name) for f in fields(attention)}
        reading = cls(**values)
        # after the constructor, whose reads do not count
        reading.__dict__["log"] = log
        return reading

    def __getattribute__(self, name: str) -> Any:
        if name not in LEVELS:
            return super().__getattribute__(name)
        log = self.__dict__.get("log")
        if log is None:
            return super().__getattribute__(name)
        log.add(name)
        # `weights` reads q and k by itself; only the method's own read counts
        del self.__dict__["log"]
        try:
            return super().__getattribute__(name)
        finally:
            self.__dict__["log"] = log

    def rows(self, images: slice) -> Attention:
        """Return the attention of some images, which records in the same log."""
        log = self.__dict__.pop("log")
        try:
            part = super().rows(images)
        finally:
            self.__dict__["log"] = log
        part.__dict__["log"] = log
        return part
