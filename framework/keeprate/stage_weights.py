"""What training gave a method: tensors for each of its stages, read from a checkpoint by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from .backbones.loading.checkpoints import Shapes, differences, list_few, read_weights
from .backbones.loading.file_kinds import FileKind, kind_of
from .errors import KeeprateError
from .tokens import at_least_float32


@dataclass(frozen=True)
class StageWeights:
    """The layers of a method, as they are in `file`: `tensors` by name, and `sizes` by letter."""

    file: Path
    tensors: tuple[Mapping[str, Tensor], ...]
    sizes: tuple[Mapping[str, int], ...]
    _placed: dict[tuple[int, torch.device, torch.dtype], dict[str, Tensor]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def count(self) -> int:
        """The number of layers."""
        return len(self.tensors)

    def of(self, layer: int, x: Tensor) -> dict[str, Tensor]:
        """Return the tensors of a layer on the device of `x`, in its type or at least float32."""
        exact = at_least_float32(x.dtype)
        if torch.compiler.is_compiling():  # tensors of a program that is traced hold no values
            return self._on(layer, x.device, exact)
        key = layer, x.device, exact
        if key not in self._placed:
            # tensors made in inference mode would be refused wherever gradients are computed
            with torch.inference_mode(False):
                self._placed[key] = self._on(*key)
        return dict(self._placed[key])

    def _on(self, layer: int, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
        return {name: tensor.to(device, dtype) for name, tensor in self.tensors[layer].items()}


def read_stage_weights(path: Path, prefix: str, shapes: Mapping[str, str]) -> StageWeights:
    """Read the tensors named `prefix`, the number of a layer from 0, and a name of `shapes`.

    `shapes` says of each name what its shape is, as in "2 C": a letter stands for a size that the
    file decides, the same in the whole layer. What has other names is left out. The file is
    .safetensors or a PyTorch checkpoint without code; one that has not changed is read once.

    Raises KeeprateError for a file that is missing, cannot be read or has no such layers, for
    tensors that are missing, unknown or of another shape, and for other than floating-point.
    """
    if kind_of(path) is FileKind.NPZ:
        raise KeeprateError(f"'{path}' is a .npz: give .safetensors or a PyTorch checkpoint")
    stat = path.stat()
    return _read(path.absolute(), (stat.st_mtime_ns, stat.st_size), prefix, tuple(shapes.items()))


@lru_cache(maxsize=8)
def _read(
    path: Path, _version: tuple[int, int], prefix: str, shapes: tuple[tuple[str, str], ...]
) -> StageWeights:
    found = read_weights(path)
    layers: list[dict[str, Tensor]] = []
    while names := [name for name in found if name.startswith(f"{prefix}{len(layers)}.")]:
        start = f"{prefix}{len(layers)}."
        layers.append({name.removeprefix(start): found[name] for name in names})
    if not layers:
        raise KeeprateError(
            f"'{path}' holds no '{prefix}0.{shapes[0][0]}', but {list_few(sorted(found))}: give "
            "the checkpoint of a model that was trained with this method"
        )
    sizes = [
        _sizes(path, f"{prefix}{number}", layer, dict(shapes))
        for number, layer in enumerate(layers)
    ]
    return StageWeights(path, tuple(layers), tuple(sizes))


def _sizes(
    path: Path, name: str, layer: Mapping[str, Tensor], shapes: Mapping[str, str]
) -> dict[str, int]:
    """Return the size that each letter stands for; KeeprateError for tensors that do not fit."""
    found: Shapes = {name: tuple(tensor.shape) for name, tensor in layer.items()}
    sizes: dict[str, int] = {}
    for tensor, letters in shapes.items():
        for letter, size in zip(letters.split(), found.get(tensor, ()), strict=False):
            sizes.setdefault(letter, int(letter) if letter.isdigit() else size)
    expected = {
        tensor: tuple(sizes.get(letter, 0) for letter in letters.split())
        for tensor, letters in shapes.items()
    }
    reason = differences(found, expected)
    if reason:
        raise KeeprateError(f"'{path}' does not fit at '{name}': {reason}")
    for tensor in layer:
        if not layer[tensor].is_floating_point():
            kind = layer[tensor].dtype
            raise KeeprateError(f"'{path}' has {kind} at '{name}.{tensor}', not floating-point")
    return sizes
