"""The code that all families of Hugging Face's transformers share, without importing that package.

A model is recognised by the full names of its class and of the classes of its parts, so that this
module can be imported where transformers is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any, ClassVar

from torch import nn

from ...backbone import Backbone, BlockCost
from ..timm.isotropic import linear_macs, uncounted_refusal
from .examples import examples_of
from .layouts import ClassifierLayout, Parts

READABLE = ("sdpa", "eager")
"""Attention implementations that can be read; eager attention runs as sdpa while it is read."""
CAPTURE = "transformers.utils.output_capturing"
"""The module of the hooks that transformers leaves behind after `output_hidden_states=True`."""


class HuggingFace(Backbone):
    """The shared part of families of transformers' classifiers."""

    layouts: ClassVar[Mapping[str, ClassifierLayout]]
    """The layout of each known classifier, by the full name of its class."""
    attention: ClassVar[str] = "attention"
    """The attribute of a block that holds its attention, projections included."""
    sizes: ClassVar[tuple[str, str]] = ("num_attention_heads", "head_dim")
    """The attributes that say how many heads there are and how wide each is."""

    model: Any
    base: Any
    """The model inside the classifier. Any: its parts are found by name, checked by `refusal`."""
    blocks: list[Any]

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        layout = self.layouts[full_name(type(model))]
        self.base = model.get_submodule(layout.base)
        self.blocks = list(self.base.get_submodule(layout.blocks))
        self.depth = len(self.blocks)
        self.channels = self.base.config.hidden_size
        modules = getattr(self.blocks[0], self.attention).modules()
        # in some families the block's attention wraps the module that knows its heads
        attention = next(module for module in modules if hasattr(module, self.sizes[0]))
        self.heads, self.head_dim = (getattr(attention, name) for name in self.sizes)

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part or setting of `model` is not known, None if all are."""
        layout = cls.layouts.get(full_name(type(model)))
        if layout is None:
            bases = [base for base in type(model).__mro__ if full_name(base) in cls.layouts]
            return f"a subclass of {bases[0].__name__} may compute otherwise" if bases else ""
        return next(filter(None, cls._refusals(model, layout)), None)

    @classmethod
    def examples(cls) -> Mapping[str, Callable[[], nn.Module]]:
        """Return how to build small models of the family, by name; none without transformers."""
        return examples_of(cls.name)

    @classmethod
    def _refusals(cls, model: Any, layout: ClassifierLayout) -> Iterator[str | None]:
        """Yield a reason for each part that is not known, None for the others."""
        # in this order: a check may only look at parts that those before it have found
        home = type(model).__module__
        yield _parts_refusal("the model", model, layout.model_parts, home)
        base = model.get_submodule(layout.base)
        yield _parts_refusal(f"its '{layout.base}'", base, layout.base_parts, home)
        blocks = base.get_submodule(layout.blocks)
        for index, block in enumerate(blocks):
            yield _class_refusal(f"block {index}", block, (layout.block,), home)
            yield _parts_refusal(f"block {index}", block, layout.block_parts, home)
        yield uncounted_refusal(model)
        around = _path(base, layout.blocks)
        if any(_is_altered(module) for module in (model, *around, *blocks)):
            yield "forward hooks on it or its blocks, or a replaced forward, would be left out"
        yield cls.settings_refusal(model, base.config)

    @classmethod
    def settings_refusal(cls, model: Any, config: Any) -> str | None:
        """Return which setting of a model, or of the one inside it, is not supported; else None."""
        implementation = getattr(config, "_attn_implementation", None)
        if implementation not in READABLE:
            return (
                f"attention implementation '{implementation}' cannot be read; load the model with "
                "attn_implementation='sdpa'"
            )
        if getattr(config, "is_causal", False) or getattr(config, "is_decoder", False):
            return "causal attention (is_causal or is_decoder) is not supported"
        if getattr(model, "is_quantized", False):
            return "quantised weights are not supported: their products cannot be counted"
        return None

    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs."""
        return self._block_costs[block]

    def classifier_macs(self) -> int:
        """Return the MACs of the layers that follow the model inside the classifier, per input."""
        heads = (child for child in self.model.children() if child is not self.base)
        return sum(linear_macs(head) for head in heads)

    @cached_property
    def _block_costs(self) -> list[BlockCost]:
        """What each block costs, read off its linear layers."""
        # cached: texts ask for the cost at every length
        costs = []
        for block in self.blocks:
            attention = linear_macs(getattr(block, self.attention))
            mlp = linear_macs(block) - attention
            costs.append(BlockCost(attention, 2 * self.heads * self.head_dim, mlp))
        return costs


def full_name(cls: type) -> str:
    """Return the name of a class with the name of its module in front."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _path(module: Any, path: str) -> list[nn.Module]:
    """Return the modules along a path of attributes, from `module` to the last one."""
    names = path.split(".")
    return [module, *(module.get_submodule(".".join(names[: i + 1])) for i in range(len(names)))]


def _parts_refusal(what: str, module: nn.Module, parts: Parts, home: str) -> str | None:
    """Return which child of `module` is missing, unknown or of another class; None if none is."""
    children = dict(module.named_children())
    unknown = sorted(children.keys() - parts.keys())
    missing = sorted(name for name in parts.keys() - children.keys() if "" not in parts[name])
    if unknown or missing:
        names = ", ".join([f"'{name}'" for name in unknown] + [f"no '{name}'" for name in missing])
        return f"{what} has {names}: another version of transformers builds it otherwise"
    reasons = (
        _class_refusal(f"'{name}' of {what}", child, parts[name], home)
        for name, child in children.items()
    )
    return next(filter(None, reasons), None)


def _class_refusal(what: str, module: nn.Module, known: tuple[str, ...], home: str) -> str | None:
    """Return that `module` is of none of the `known` classes, None if it is exactly of one."""
    cls = type(module)
    # by name and module: a class of the same name from elsewhere may compute something else
    if cls.__qualname__ in known and (cls.__module__ == home or cls.__module__[:9] == "torch.nn."):
        return None
    names = " or ".join(name for name in known if name)
    return f"{what} is a {cls.__name__}, not {names}"


def _is_altered(module: nn.Module) -> bool:
    """Tell whether calling `module` does more than its class says: by hooks, or another forward.

    The hooks that transformers leaves behind to capture outputs do nothing in other calls.
    """
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    foreign = [hook for hook in hooks if getattr(hook, "__module__", "") != CAPTURE]
    return "forward" in vars(module) or bool(foreign)
