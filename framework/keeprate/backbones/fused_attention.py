"""Fused attention: switched on where it is off, and answered wherever it is called."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class FusedCalls(TorchFunctionMode, ABC):
    """Answers the fused attention calls made inside it; all other functions run as usual."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call `func`, or `attend` in its place."""
        options = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **options)
        if func is F.multi_head_attention_forward:
            with self:  # torch has switched the mode off, and its fused call is inside
                return _MULTI_HEAD_ATTENTION(*args, **options)
        return func(*args, **options)

    @abstractmethod
    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        *options: Any,
        **named_options: Any,
    ) -> Tensor:
        """Return the output (B, H, N, d) of a call of scaled_dot_product_attention."""


# the code of torch's own function, without the line that hands all of it over to a mode again
_MULTI_HEAD_ATTENTION: Any = FunctionType(
    F.multi_head_attention_forward.__code__,
    {**vars(F), "has_torch_function": lambda tensors: False},
    argdefs=F.multi_head_attention_forward.__defaults__,
)


@contextmanager
def switched_on(attention: nn.Module) -> Iterator[None]:
    """Switch fused attention on inside a module of timm or transformers, and back afterwards.

    `nn.MultiheadAttention` of torch takes no shortcut, one kernel for all that it computes.
    """
    modules = [m for m in attention.modules() if getattr(m, "fused_attn", None) is False]
    # modules share configurations: by identity, each is set and restored once
    configs = {id(config): config for config in map(_attention_config, attention.modules())}
    # read before the first is set: setting an outer configuration changes those inside it
    implementations = [
        (config, config._attn_implementation) for config in configs.values() if config is not None
    ]
    # asked only where it matters: a compiled graph cannot set it
    has_shortcut = any(isinstance(m, nn.MultiheadAttention) for m in attention.modules())
    takes_shortcut = has_shortcut and torch.backends.mha.get_fastpath_enabled()
    try:
        if takes_shortcut:
            torch.backends.mha.set_fastpath_enabled(False)
        for module in modules:
            module.fused_attn = True  # type: ignore[assignment]
        for config, implementation in implementations:
            if implementation == "eager":
                config._attn_implementation = "sdpa"
        yield
    finally:
        if takes_shortcut:
            torch.backends.mha.set_fastpath_enabled(True)
        for module in modules:
            module.fused_attn = False  # type: ignore[assignment]
        for config, implementation in implementations:  # outer ones first, for the same reason
            config._attn_implementation = implementation


def _attention_config(module: nn.Module) -> Any:
    """Return the configuration that chooses a transformers module's attention, None without one."""
    config = getattr(module, "config", None)
    return config if hasattr(config, "_attn_implementation") else None
