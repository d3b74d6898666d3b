"""The same timm model for images and patches of other sizes."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

import torch
from timm.layers.patch_embed import PatchEmbed
from torch import nn

if TYPE_CHECKING:
    from ...resizing import InputSize


def is_resizable(model: Any) -> bool:
    """Tell whether timm has a rule for other sizes of a model's images and patches."""
    # older versions of timm have the rule for fewer families
    plain = type(getattr(model, "patch_embed", None)) is PatchEmbed
    return plain and hasattr(model, "set_input_size")


def resized_model(model: nn.Module, size: InputSize) -> nn.Module:
    """Return a model for another size, by timm's `set_input_size`, that shares its parameters.

    timm resamples absolute positions (bicubic, antialiased, prefix tokens left as they are), tables
    of relative positions and the patch kernel (by the pseudo-inverse), and makes rotary embeddings
    anew. It puts new parameters in the place of these, and writes into none.
    """
    shell: Any = _shell(model)
    patch = None if size.patch == shell.patch_embed.patch_size else size.patch
    with torch.no_grad(), warnings.catch_warnings():
        # newer torch warns of how timm interpolates tables of relative positions
        warnings.filterwarnings("ignore", module=r"timm\.layers\.interpolate")
        shell.set_input_size(img_size=size.image, patch_size=patch)
    resized: nn.Module = shell
    return resized


def _shell(module: nn.Module) -> nn.Module:
    """Return a module with copies of the modules inside, whose parameters are the same objects.

    Buffers are copied: timm writes into some. A deep copy would take a hundred times as long.
    """
    shell = copy.copy(module)
    vars(shell).update(
        _parameters=dict(module._parameters),
        _buffers={name: b if b is None else b.clone() for name, b in module._buffers.items()},
        _modules={name: m if m is None else _shell(m) for name, m in module._modules.items()},
    )
    return shell
