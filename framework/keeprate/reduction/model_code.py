"""Tells whether the code that a model runs, its hooks and what replaces them are still the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from operator import is_
from types import FunctionType

import torch.nn.functional as F
from torch import nn
from torch.nn.modules import module as torch_modules

from ..backbone import Inputs

_CODE = (FunctionType, staticmethod, classmethod, property)


def code_of(model: nn.Module) -> frozenset[object]:
    """Return the functions that a model can run: all of its modules' classes and of torch's `F`.

    Models that are built of the same classes have equal sets as long as nobody replaces a function
    of one of them, and equal ones again once it was put back.
    """
    functions = {
        (cls, name, value)
        for cls in _classes(model.modules())
        for name, value in vars(cls).items()
        if isinstance(value, _CODE)
    }
    return frozenset({*functions, *filter(callable, vars(F).values()), *_global_hooks()})


def has_own_code(model: nn.Module) -> bool:
    """Tell whether a model runs anything beside the code of its classes.

    That are forward hooks on its modules, and functions of a class replaced on an instance.
    """
    return any(_is_hooked(module) or _is_replaced(module) for module in model.modules())


def left_out(
    model: nn.Module,
    plain: Callable[[Inputs], object],
    reduced: Callable[[Inputs], object],
    inputs: Inputs,
) -> str | None:
    """Return the first module with hooks or a forward of its own that only `plain` calls.

    It is named, with its class; None says that there is no such module.
    """
    if not has_own_code(model):
        return None
    with _called_modules() as by_plain:
        plain(inputs)
    with _called_modules() as by_reduced:
        reduced(inputs)
    for name, module in model.named_modules():
        has_own = _is_hooked(module) or "forward" in vars(module)
        if has_own and module in by_plain and module not in by_reduced:
            return f"{name or 'the model'} ({type(module).__name__})"
    return None


class CodeWatch:
    """Notices that a model's classes, hooks or forward functions changed.

    What it compares are a few hundred references, without looking into them.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._modules = tuple(model.modules())
        self._spaces = [vars(F), *(vars(cls) for cls in _classes(self._modules))]
        self._seen = self._look()

    def __reduce__(self) -> tuple[type[CodeWatch], tuple[nn.Module]]:
        """Copy and pickle as a new watch of the copied model."""
        return CodeWatch, (self.model,)

    def has_changed(self) -> bool:
        """Tell whether anything changed since this was made or `accept` was called."""
        (then, counts_then), (now, counts) = self._seen, self._look()
        # by identity: what a class holds may have no truth value, as a tensor
        return counts != counts_then or len(now) != len(then) or not all(map(is_, now, then))

    def accept(self) -> None:
        """Take the present code for what later code is compared with."""
        self._seen = self._look()

    def _look(self) -> tuple[list[object], list[object]]:
        """Return what is compared by identity, and what is compared as numbers."""
        held: list[object] = [*_global_hooks()]
        for space in self._spaces:
            held += space.values()
        counts: list[object] = []
        for module in self._modules:
            own = module.__dict__
            held.append(module.__class__)
            counts.append(len(own))
            if "forward" in own or own["_forward_hooks"] or own["_forward_pre_hooks"]:
                held.append(own.get("forward"))
                counts += (*own["_forward_hooks"], *own["_forward_pre_hooks"])
        return held, counts


def is_foreign(hook: object) -> bool:
    """Tell whether a hook is not one of those that transformers registers itself."""
    return _package(hook) != "transformers"


def _classes(modules: Iterable[nn.Module]) -> set[type]:
    return {cls for each in {type(module) for module in modules} for cls in each.__mro__[:-1]}


def _global_hooks() -> tuple[object, ...]:
    """Return the hooks of all modules, but for those of torch, as its counters', and ours."""
    spaces = (torch_modules._global_forward_hooks, torch_modules._global_forward_pre_hooks)
    hooks = [hook for space in spaces for hook in space.values()]
    return tuple(hook for hook in hooks if _package(hook) not in ("torch", "keeprate"))


def _package(thing: object) -> str:
    return str(getattr(thing, "__module__", "")).partition(".")[0]


def _is_hooked(module: nn.Module) -> bool:
    hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())
    return any(map(is_foreign, hooks))


def _is_replaced(module: nn.Module) -> bool:
    """Tell whether a module itself has another function in place of one of its class."""
    cls = type(module)
    return any(
        callable(value) and isinstance(getattr(cls, name, None), FunctionType)
        for name, value in vars(module).items()
    )


@contextmanager
def _called_modules() -> Iterator[set[nn.Module]]:
    called: set[nn.Module] = set()
    handle = torch_modules.register_module_forward_pre_hook(
        lambda module, inputs: called.add(module)
    )
    try:
        yield called
    finally:
        handle.remove()
