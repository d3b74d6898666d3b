"""Fused attention, switched on where a model of timm or transformers has it off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def switched_on(attention: nn.Module) -> Iterator[None]:
    """Switch fused attention on inside a module of timm or transformers, and back afterwards."""
    modules = [m for m in attention.modules() if getattr(m, "fused_attn", None) is False]
    # modules share configurations: by identity, each is set and restored once
    configs = {id(config): config for m in attention.modules() if (config := _attention_config(m))}
    # read before the first is set: setting an outer configuration changes those inside it
    implementations = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for module in modules:
            module.fused_attn = True  # type: ignore[assignment]
        for config, implementation in implementations:
            if implementation == "eager":
                config._attn_implementation = "sdpa"
        yield
    finally:
        for module in modules:
            module.fused_attn = False  # type: ignore[assignment]
        for config, implementation in implementations:  # outer ones first, for the same reason
            config._attn_implementation = implementation


def _attention_config(module: nn.Module) -> Any:
    """Return the configuration that chooses a transformers module's attention, None without one."""
    config = getattr(module, "config", None)
    return config if hasattr(config, "_attn_implementation") else None
