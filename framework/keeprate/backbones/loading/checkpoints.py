"""Read the shapes in a weights file without its weights, and say which do not fit a model."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping
from pathlib import Path

import huggingface_hub
import torch
from safetensors import safe_open
from torch import Tensor

from ...errors import KeeprateError

# keys and prefixes in timm's own order, so that the shapes are those of the weights it will load
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
PREFIXES = ("_orig_mod.", "module.", "_orig_mod.")

Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of weights, by their names."""


def read_shapes(path: Path) -> Shapes:
    """Return names and shapes of the weights in a file, without reading the weights.

    The file is .safetensors, or a PyTorch checkpoint without code (`weights_only=True`), whose
    weights may be under "state_dict", "model" and the like. Raises KeeprateError for anything else.
    """
    if not path.is_file():
        raise KeeprateError(f"No weights file '{path}'.")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                names = list(file.keys())
                return {name: tuple(file.get_slice(name).get_shape()) for name in names}
        # training checkpoints often keep their command line, a Namespace, which is no code
        with torch.serialization.safe_globals([argparse.Namespace]):
            checkpoint = torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        raise KeeprateError(
            f"'{path}' is not a checkpoint of plain weights: it is damaged or holds code, which is "
            "never run. Save its weights as FILE.safetensors."
        ) from error
    except Exception as error:  # damaged files make torch.load raise nearly anything
        raise KeeprateError(f"Cannot read the weights '{path}': {first_line(error)}.") from error
    return _unwrap(path, checkpoint)


def _unwrap(path: Path, checkpoint: object) -> Shapes:
    """Return the shapes of the weights in a training checkpoint, found where timm finds them."""
    if isinstance(checkpoint, dict):
        wrapper = next((key for key in WRAPPERS if checkpoint.get(key) is not None), None)
        checkpoint = checkpoint[wrapper] if wrapper else checkpoint
    if not isinstance(checkpoint, dict):
        raise KeeprateError(f"'{path}' holds a {type(checkpoint).__name__}, not weights by name.")
    return {
        _strip_prefixes(str(name)): tuple(value.shape)
        for name, value in checkpoint.items()
        if isinstance(value, Tensor)  # other entries may be the epoch, the optimizer's state
    }


def _strip_prefixes(name: str) -> str:
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def differences(found: Shapes, expected: Shapes) -> str:
    """Say in one line which weights are missing, unexpected or of another shape; "" if none are."""
    reshaped = [
        f"{name} {found[name]} for {expected[name]}"
        for name in sorted(expected.keys() & found.keys())
        if found[name] != expected[name]
    ]
    kinds = {
        "missing": sorted(expected.keys() - found.keys()),
        "unexpected": sorted(found.keys() - expected.keys()),
        "of another shape": reshaped,
    }
    return "; ".join(
        f"{len(names)} {kind} ({list_few(names)})" for kind, names in kinds.items() if names
    )


def list_few(names: list[str]) -> str:
    return ", ".join(names[:3] + ["..."] * (len(names) > 3))


def first_line(error: BaseException) -> str:
    """Return an error's first line without its full stop, with its type where that says more."""
    lines = str(error).strip().splitlines()
    # the text of a KeyError is the key alone
    if not lines or isinstance(error, LookupError):
        return " ".join([type(error).__name__, *lines[:1]])
    return lines[0].rstrip(".:")


def hub_problem() -> str | None:
    """Return why the hub cannot be reached, None if it can be."""
    # one short request, where the hub's own client would retry for a minute
    try:
        huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=10)
    except Exception as error:  # the transport's own types, which differ between versions
        return first_line(error)
    return None
