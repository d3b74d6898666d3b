"""Load the .npz files of JAX, as AugReg's, with timm's own reader, and see that all weights fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from traceback import clear_frames

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ...errors import KeeprateError
from .reasons import first_line

_ROOTS = ("opt/target/", "params/img/", "params/")
"""Under one of these, the vision model's weights may be; the others are no part of it."""
_POSITIONS = ("Transformer/posembed_input/pos_embedding", "pos_embedding")
_HEAD = "head/kernel"


def jax_outline(path: Path) -> Mapping[str, Tensor]:
    """Return the weights in a .npz file as tensors on "meta", under the names they have there.

    Only its head and position embedding are named, and shaped, as in timm.
    Raises KeeprateError for a file that cannot be read, and for arrays that are no numbers.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: torch.from_numpy(arrays[name]).to("meta") for name in arrays.files}
    except Exception as error:  # zipfile, numpy and torch each have their own for damaged files
        raise KeeprateError(f"Cannot read the weights '{path}': {first_line(error)}.") from error
    root = next((root for root in _ROOTS if f"{root}embedding/kernel" in found), "")
    weights = {
        name.removeprefix(root): tensor for name, tensor in found.items() if name.startswith(root)
    }
    for name in _POSITIONS:
        if name in weights:
            weights["pos_embed"] = weights.pop(name)
    if _HEAD in weights:
        weights["head.weight"] = weights.pop(_HEAD).T
    return weights


def load_jax(model: nn.Module, name: str, path: Path) -> nn.Module:
    """Fill a model with the weights of a .npz file; KeeprateError unless all of both are used.

    Position embeddings are resampled where the model has another number of them.
    """
    # exactly: subclasses have weights that timm's reader does not know of
    if type(model) is not VisionTransformer:
        raise KeeprateError(
            f"'{path}' is a .npz of JAX, which timm reads for its VisionTransformer alone, and "
            f"'{name}' is a {type(model).__name__}. Give its weights as .safetensors."
        )
    weights = model.state_dict()
    with torch.no_grad():
        for weight in weights.values():
            weight.fill_(math.nan)
    try:
        model.load_pretrained(str(path))
    except Exception as error:  # a KeyError for what is missing, others for what does not fit
        # timm's frames hold the file open, and would until the garbage is collected
        clear_frames(error.__traceback__)
        raise KeeprateError(f"{_misfit(path, name)}: {first_line(error)}.") from error
    unfilled = [key for key, weight in weights.items() if weight.isnan().any()]
    if unfilled:
        raise KeeprateError(
            f"{_misfit(path, name)}: it has no numbers for {len(unfilled)} ({unfilled[0]}, ...)."
        )
    theirs, ours = _count(jax_outline(path)), _count(weights)
    if theirs != ours:
        raise KeeprateError(
            f"{_misfit(path, name)}: it holds {theirs:,} of them, the model has {ours:,}."
        )
    return model


def _misfit(path: Path, name: str) -> str:
    return f"The weights in '{path}' do not fit the model '{name}'"


def _count(weights: Mapping[str, Tensor]) -> int:
    # positions may be resampled, which the caller has to ask for
    return sum(weight.numel() for name, weight in weights.items() if name != "pos_embed")
