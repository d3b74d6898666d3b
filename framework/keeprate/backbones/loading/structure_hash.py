"""A hash of how a model is built: equal weights in another structure are another model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from torch import nn

_SETTINGS: Final = frozenset({"training", "fused_attn", "grad_checkpointing"})
"""Attributes of modules that say how they run, not what they compute."""

_NAMES: Final = frozenset(
    {"name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "model_type"}
)
"""Attributes and settings that hold names or the precision; transformers keeps them in both."""


def structure_sha256(model: nn.Module) -> str:
    """Return the SHA-256 (hex) of a model's modules: names, classes, and their plain attributes.

    The hash covers the numbers, texts and tuples of them that a module keeps (heads, epsilon,
    scale, window), and a transformers configuration. It does not cover the names of models and how
    attention is computed.
    """
    modules = [
        (name, f"{type(module).__module__}.{type(module).__qualname__}", _attributes(module))
        for name, module in model.named_modules()
    ]
    # default=str: a configuration may hold what JSON cannot write, such as a torch.dtype
    content = json.dumps([modules, _configuration(model)], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()


def _attributes(module: nn.Module) -> dict[str, object]:
    """Return the plain attributes of a module that say what it computes."""
    return {
        name: value
        for name, value in vars(module).items()
        if not _is_name(name) and name not in _SETTINGS and _is_plain(value)
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(element) for element in value)
    return value is None or isinstance(value, bool | int | float | str)


def _configuration(model: nn.Module) -> dict[str, Any]:
    config: Any = getattr(model, "config", None)
    if not hasattr(config, "to_dict"):
        return {}
    settings: Mapping[str, Any] = config.to_dict()
    return {name: value for name, value in settings.items() if not _is_name(name)}


def _is_name(entry: str) -> bool:
    # private entries are torch's and transformers' own bookkeeping
    return entry.startswith("_") or entry in _NAMES
