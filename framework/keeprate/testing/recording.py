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


Function = Literal["score", "reduce", "prepare", "observe", "reweigh"]


@dataclass
class Call:
    """One call of a method's function: its arguments, and its result or the `error` raised.

    `prepare` is given no attention, and `reweigh` weights alone: `attention` has what they are
    given in its fields, and tokens in place of the rest. Their `stage` keeps all patch tokens.
    """

    function: Function
    tokens: Tokens
    attention: Attention
    stage: Stage
    result: Any = None
    error: Exception | None = None


def _as_given(*arguments: Any) -> tuple[Tokens, Attention, Stage]:
    tokens, attention, stage = arguments
    return tokens, attention, stage


def _in_full(call: Call) -> tuple[Any, ...]:
    return call.tokens, call.attention, call.stage


def _without_lens(tokens: Tokens, call: Call) -> Any:
    """Return a call's result; where it may only set a state, that of `tokens`, which came in."""
    if call.function not in ("prepare", "observe") or call.tokens is tokens:
        return call.result
    return replace(tokens, state=call.result.state, token_state=call.result.token_state)


_GIVEN: Mapping[str, Callable[[Call], tuple[Any, ...]]] = {
    "prepare": lambda call: (call.tokens,),
    "reweigh": lambda call: (call.attention.given_weights, call.tokens),
}
"""What functions are given that are not given tokens, attention and stage."""


def _apart(*arguments: Any) -> tuple[Tokens, Attention, Stage]:
    """Return tokens, attention and stage that stand for the arguments of `prepare` or `reweigh`."""
    tokens, weights = arguments[-1], arguments[0] if len(arguments) == 2 else None
    x = tokens.x
    attention = Attention(x, x, x, 1.0, None, x, given_weights=weights)
    return tokens, attention, Stage(0, tokens.num_patch_tokens, 1)


@dataclass
class _Watch:
    around: Around
    lens: Lens
    calls: list[Call] = field(default_factory=list)
    is_inside: bool = False

    def call(self, function: Function, original: Any, arguments: Any) -> Any:
        """Pass a call on and record it, unless the method calls its own other function."""
        if self.is_inside:
            return original(*arguments)
        tokens, attention, stage = (_apart if function in _GIVEN else _as_given)(*arguments)
        if function == "reweigh":
            call = Call(function, tokens, attention, stage)
        else:
            call = Call(function, *self.lens(tokens, attention), stage)
        self.calls.append(call)
        self.is_inside = True
        try:
            with self.around(call):
                call.result = original(*_GIVEN.get(function, _in_full)(call))
        except Exception as error:
            call.error = error
            raise
        finally:
            self.is_inside = False
        return _without_lens(tokens, call)


def watched(
    method: Method, around: Around | None = None, lens: Lens | None = None
) -> tuple[Method, list[Call]]:
    """Return a copy of a method, and a list in which the calls of the copy are recorded.

    `around` makes a context that every call runs in. `lens` returns the tokens and the attention
    that the call gets in place of its own.
    """
    watch = _Watch(around or (lambda call: nullcontext()), lens or (lambda *arguments: arguments))
    cls: Any = type(method)

    def passing(name: Function) -> Any:
        def function(self: Method, *arguments: object) -> Any:
            return watch.call(name, getattr(super(watched_class, self), name), arguments)

        # `__wrapped__` leads error messages to the author's line
        function.__dict__["__wrapped__"] = getattr(cls, name)
        return function

    # a subclass that has `score` or `prepare` would make any method look like one that does
    own: dict[Function, bool] = {
        "reduce": True,
        "score": has_score(method),
        "prepare": cls.prepare is not Method.prepare,
        "observe": method.observes,
        "reweigh": method.reweighs,
    }
    functions: dict[str, Any] = {name: passing(name) for name, has in own.items() if has}
    functions["__module__"] = cls.__module__
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
