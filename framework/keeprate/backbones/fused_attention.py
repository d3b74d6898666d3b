"""Fused attention, switched on where a model of timm or transformers has it off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def switched_on(attention: nn.Module) -> Iterator[None]:
    """Switch fused attention on inside a module of timm or transformers, and back afterwards."""
    off = [m for m in attention.modules() if getattr(m, "fused_attn", None) is False]
    configs = {id(config): config for m in attention.modules() if (config := _chooser(m))}
    chosen = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for module in off:
            module.fused_attn = True  # type: ignore[assignment]
        for config, implementation in chosen:
            if implementation == "eager":
                config._attn_implementation = "sdpa"
        yield
    finally:
        for module in off:
            module.fused_attn = False  # type: ignore[assignment]
        for config, implementation in chosen:  # outer ones first: they set those inside as well
            config._attn_implementation = implementation


def _chooser(module: nn.Module) -> Any:
    """Return the configuration of transformers that chooses a module's attention, if it has one."""
    config = getattr(module, "config", None)
    return config if hasattr(config, "_attn_implementation") else None
