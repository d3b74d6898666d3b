"""What classifiers of Hugging Face's transformers have in common; nothing of it is imported here.

Models are known by the full names of their classes and of their parts' classes, so that this module
can be imported where transformers is not installed.
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
"""Attention implementations that can be read; eager attention is run as sdpa while it is read."""
CAPTURE = "transformers.utils.output_capturing"
"""Where the hooks come from that transformers leaves behind after `output_hidden_states=True`."""


class HuggingFace(Backbone):
    """The shared part of families of transformers' classifiers."""

    layouts: ClassVar[Mapping[str, ClassifierLayout]]
    """By the full name of the classifier's class."""
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
        sized = next(module for module in modules if hasattr(module, self.sizes[0]))
        self.heads, self.head_dim = (getattr(sized, name) for name in self.sizes)

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return what of `model` is not of the known classes or settings, None if all is."""
        layout = cls.layouts.get(full_name(type(model)))
        if layout is None:
            bases = [base for base in type(model).__mro__ if full_name(base) in cls.layouts]
            return f"a subclass of {bases[0].__name__} may compute otherwise" if bases else ""
        return next(filter(None, cls._reasons(model, layout)), None)

    @classmethod
    def examples(cls) -> Mapping[str, Callable[[], nn.Module]]:
        """Return how to build small models of the family, by name; none without transformers."""
        return examples_of(cls.name)

    @classmethod
    def _reasons(cls, model: Any, layout: ClassifierLayout) -> Iterator[str | None]:
        """Yield what is wrong, each check relying on those before it."""
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
        """Return which setting of a model, or of the model inside it, is not supported."""
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
        """Return the products of what follows the model inside the classifier, once per input."""
        heads = (child for child in self.model.children() if child is not self.base)
        return sum(linear_macs(head) for head in heads)

    @cached_property
    def _block_costs(self) -> list[BlockCost]:
        """What each block costs, read off its linear layers once: texts ask for every length."""
        costs = []
        for block in self.blocks:
            attention = linear_macs(getattr(block, self.attention))
            mlp = linear_macs(block) - attention
            costs.append(BlockCost(attention, 2 * self.heads * self.head_dim, mlp))
        return costs


def full_name(cls: type) -> str:
    """Return the name of a class with its module's."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _path(module: Any, path: str) -> list[nn.Module]:
    """Return the modules on the way down a path of attributes, both ends included."""
    names = path.split(".")
    return [module, *(module.get_submodule(".".join(names[: i + 1])) for i in range(len(names)))]


def _parts_refusal(what: str, module: nn.Module, parts: Parts, home: str) -> str | None:
    """Return how the children of `module` are not those that are known."""
    children = dict(module.named_children())
    unknown = sorted(children.keys() - parts.keys())
    missing = sorted(name for name in parts.keys() - children.keys() if "" not in parts[name])
    if unknown or missing:
        named = ", ".join([f"'{name}'" for name in unknown] + [f"no '{name}'" for name in missing])
        return f"{what} has {named}: another version of transformers builds it otherwise"
    reasons = (
        _class_refusal(f"'{name}' of {what}", child, parts[name], home)
        for name, child in children.items()
    )
    return next(filter(None, reasons), None)


def _class_refusal(what: str, module: nn.Module, known: tuple[str, ...], home: str) -> str | None:
    """Return that `module` is of none of the known classes, exactly; None if it is of one."""
    cls = type(module)
    if cls.__qualname__ in known and (cls.__module__ == home or cls.__module__[:9] == "torch.nn."):
        return None
    names = " or ".join(name for name in known if name)
    return f"{what} is a {cls.__name__}, not {names}"


def _is_altered(module: nn.Module) -> bool:
    """Tell whether calling `module` does more than its class says (its parts are called).

    Hooks that transformers itself left behind to capture outputs do nothing in other calls.
    """
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    foreign = [hook for hook in hooks if getattr(hook, "__module__", "") != CAPTURE]
    return "forward" in vars(module) or bool(foreign)
