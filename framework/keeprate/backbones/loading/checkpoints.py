"""Read the weights in a file by name, wherever it keeps them, and say which do not fit a model."""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Callable, Collection, Mapping, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from timm.models.vision_transformer import (
    VisionTransformer,
    _convert_dinov2,
    _convert_openai_clip,
)
from torch import Tensor, nn

from ...errors import KeeprateError
from .file_kinds import FileKind, kind_of, kind_of_content
from .jax_weights import jax_outline
from .reasons import first_line
from .weight_types import check_types

PREFERRED = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Where training checkpoints of timm keep weights: the first of them is taken, as timm does."""
PREFIXES = ("module.", "model.", "net.", "network.", "backbone.")
"""What modules that hold the model, of DataParallel or Lightning say, put before all its names."""
MARKS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch puts into the names of compiled and wrapped modules."""

_MASK, _CLIP = "mask_token", "visual.class_embedding"
_CONVERTED: Mapping[str, Callable[..., dict[str, Tensor]]] = {
    _MASK: _convert_dinov2,
    _CLIP: _convert_openai_clip,
}
"""How timm converts weights that have these names."""

Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of weights, by their names."""


def read_shapes(path: Path, model: nn.Module) -> tuple[Shapes, tuple[str, ...]]:
    """Return names and shapes of a model's weights in a file, and a line on what is left out.

    As `read_weights`, without reading the weights themselves. There is no line where nothing is.
    Raises KeeprateError also where they are no floating-point numbers.
    """
    found, others = _read(path, "meta", model.state_dict().keys())
    weights = in_timm_names(found, model)
    if weights is not found:
        others += [name for name in found if not _is_converted(name, found)]
    check_types(path, weights, model)
    told = f"Left out of '{path.name}', since it is beside the model there: {list_few(others)}."
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    return shapes, (told,) if others else ()


def read_weights(path: Path, device: str = "cpu", own: Collection[str] = ()) -> dict[str, Tensor]:
    """Return the weights in a file by name; on the device "meta" none are read.

    The file is .safetensors, or a PyTorch checkpoint without code (`weights_only=True`), which may
    keep its weights under any one name and all their names with one prefix. On "meta", it may be a
    .npz of JAX. Raises KeeprateError, which says what the file is, for everything else.

    `own` are the names that the model has for its weights. Where they stand behind a prefix, what
    has another one is left out: it is of other modules, such as a loss. So is what a method reads
    for itself (`Method.weights_prefix`).
    """
    return _read(path, device, own)[0]


def in_timm_names(weights: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return weights of DINOv2's authors, or of CLIP's image tower, as timm has them.

    The token for masked patches and the text tower are left out; other weights are as they are.
    """
    if type(model) is not VisionTransformer:
        return weights
    convert = next((convert for mark, convert in _CONVERTED.items() if mark in weights), None)
    # timm itself does so, but for a file as a whole: what it left out would not show
    return weights if convert is None else dict(convert(dict(weights), model))


def _is_converted(name: str, names: Collection[str]) -> bool:
    return name != _MASK and (_CLIP not in names or name.startswith("visual."))


def _read(path: Path, device: str, own: Collection[str]) -> tuple[dict[str, Tensor], list[str]]:
    kind = kind_of(path)
    if kind is FileKind.NPZ:
        return dict(jax_outline(path)), []
    is_safe = kind is FileKind.SAFETENSORS
    found = read_safetensors(path) if is_safe else _checkpoint(path, device, own)
    weights, others = _part_of_model(found, own)
    places = _places(weights, own)
    if len(places) > 1:
        raise _several(path, [place + name for place, name in places.items()])
    return weights, others


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a file, or in a part of one; KeeprateError unless it is safetensors."""
    if kind_of_content(path) is not FileKind.SAFETENSORS:
        raise KeeprateError(f"'{path}' is not safetensors.")
    try:
        # tensors are mapped, not read
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors' own, or torch's where it lacks a type
        raise _unreadable(path, error) from error
    if not tensors:
        raise KeeprateError(f"'{path}' holds no weights.")
    return tensors


def _checkpoint(path: Path, device: str, own: Collection[str]) -> Mapping[str, Tensor]:
    try:
        # training checkpoints often keep their command line, a Namespace, which is no code;
        # an open file, since torch goes by the name of one
        with torch.serialization.safe_globals([argparse.Namespace]), path.open("rb") as file:
            content = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError as error:
        raise KeeprateError(
            f"'{path}' is not a checkpoint of plain weights: it is damaged or holds code, which is "
            f"never run{_code_in(path)}. Save its weights alone, model.state_dict(), as "
            "FILE.safetensors."
        ) from error
    except NotImplementedError as error:  # quantised tensors have no shapes alone
        raise KeeprateError(
            f"'{path}' holds tensors of another kind than numbers, such as torch's quantised ones. "
            "Give the weights from before they were converted."
        ) from error
    except Exception as error:  # damaged files make torch.load raise nearly anything
        raise _unreadable(path, error) from error
    return _unwrap(path, content, own)


def _unreadable(path: Path, error: Exception) -> KeeprateError:
    return KeeprateError(
        f"Cannot read the weights '{path}': {first_line(error)}. If it is damaged or cut off, copy "
        "or download it again."
    )


def _code_in(path: Path) -> str:
    """Return the names of classes and functions that a checkpoint would call, "" if unknown."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # files that are damaged, or older than torch's zip archives
        return ""
    return f" ({list_few(sorted(names))})" if names else ""


def _unwrap(path: Path, content: object, own: Collection[str]) -> Mapping[str, Tensor]:
    """Return the one set of weights in a checkpoint, the averaged one where timm keeps two.

    Raises KeeprateError, which lists what the checkpoint holds, if there is none, or several.
    """
    if not isinstance(content, Mapping):
        raise KeeprateError(f"'{path}' holds a {type(content).__name__}, not weights by name.")
    sets = _sets_of_weights(content)
    if not sets:
        holds = list_few([str(name) for name in content]) or "nothing"
        raise KeeprateError(f"'{path}' holds no weights by name, but {holds}.")
    chosen = next((name for name in PREFERRED if name in sets), next(iter(sets)))
    rivals = [name for name in sets if name not in PREFERRED and name != chosen]
    if chosen in PREFERRED:  # other sets may be of other modules, such as a loss
        names = _names_in(sets[chosen], own)
        rivals = [name for name in rivals if names & _names_in(sets[name], own)]
    if rivals:
        raise _several(path, [chosen, *rivals])
    return sets[chosen]


def _several(path: Path, places: list[str]) -> KeeprateError:
    listed = list_few([f"'{place}'" for place in places])
    return KeeprateError(
        f"'{path}' holds several sets of weights: {listed}. Save the one you mean as "
        "FILE.safetensors."
    )


def _sets_of_weights(content: Mapping[Any, Any], place: str = "") -> dict[str, dict[str, Tensor]]:
    """Return all mappings from names to tensors within a checkpoint, by the keys that lead there.

    A set has a matrix at least: single numbers and lists of them are figures and states.
    """
    parts = {key: part for key, part in content.items() if isinstance(key, str)}
    tensors = {name: part for name, part in parts.items() if isinstance(part, Tensor)}
    sets = {place: tensors} if any(tensor.dim() > 1 for tensor in tensors.values()) else {}
    for key, part in parts.items():
        if isinstance(part, Mapping):
            sets |= _sets_of_weights(part, f"{place}.{key}".removeprefix("."))
    return sets


def _without_prefixes(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names they have in the model itself."""
    # an average of torch's counts what it has averaged
    clean = {name: tensor for name, tensor in weights.items() if name != "n_averaged"}
    for mark in MARKS:
        clean = {name.replace(mark, ""): tensor for name, tensor in clean.items()}
    while prefix := _shared_prefix(clean):
        clean = {name.removeprefix(prefix): tensor for name, tensor in clean.items()}
    return clean


def _part_of_model(
    weights: Mapping[str, Tensor], own: Collection[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a model under the names they have there, and the other names."""
    clean = _without_prefixes(weights)
    places = list(_places(clean, own))
    place = places[0] if len(places) == 1 else ""
    beside = tuple(place + prefix for prefix in _prefixes_of_methods()) if own else ()
    inside = {
        name: name.removeprefix(place)
        for name in clean
        if name.startswith(place)
        and (name.removeprefix(place) in own or not name.startswith(beside))
    }
    others = [name for name in clean if name not in inside]
    return {inner: clean[name] for name, inner in inside.items()}, others


def _prefixes_of_methods() -> Set[str]:
    """Return what the names of tensors begin with that methods read for themselves."""
    # imported here: it loads every plugin
    from ...plugins.registry import registry

    return {offer.cls.weights_prefix for offer in registry().methods.values()} - {""}


def _names_in(weights: Mapping[str, Tensor], own: Collection[str]) -> Set[str]:
    return _part_of_model(weights, own)[0].keys()


def _places(names: Collection[str], own: Collection[str]) -> dict[str, str]:
    """Return the prefixes behind which most of a model's `own` names are, each with one of them."""
    found: dict[str, list[str]] = {}
    for name in names:
        for start in (0, *(dot.end() for dot in re.finditer(r"\.", name))):
            if name[start:] in own:
                found.setdefault(name[:start], []).append(name[start:])
    return {place: min(inside) for place, inside in found.items() if 2 * len(inside) > len(own)}


def _shared_prefix(names: Collection[str]) -> str:
    return next((p for p in PREFIXES if all(name.startswith(p) for name in names)), "")


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
    """Return the first three names in one line."""
    return ", ".join(names[:3] + ["..."] * (len(names) > 3))
