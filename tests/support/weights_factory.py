"""Files of random weights for methods that run only with trained ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from keeprate.plugins.parameters import parse_spec
from keeprate.plugins.registry import registry

COUNTS = (18, 11, 8, 5)
"""What the layers leave that fix it: with the first three, what the battery's schedules keep."""


def random_layers(
    cls: Any, channels: int = 24, counts: Sequence[int] = COUNTS
) -> dict[str, Tensor]:
    """Return a layer for each of `counts`, under the names of the class's checkpoints."""
    generator = torch.Generator().manual_seed(3)
    return {
        f"{cls.weights_prefix}{number}.{name}": torch.randn(
            _shape(letters, channels, kept), generator=generator
        )
        for number, kept in enumerate(counts)
        for name, letters in cls.shapes.items()
    }


def _shape(letters: str, channels: int, kept: int) -> list[int]:
    sizes: Mapping[str, int] = {"C": channels, "K": kept}
    return [int(each) if each.isdigit() else sizes.get(each, 12) for each in letters.split()]


def weights_file(folder: Path, cls: Any, **options: Any) -> Path:
    """Write `random_layers` to a file in `folder`, and return its path."""
    path = folder / f"{cls.name}.safetensors"
    save_file(random_layers(cls, **options), path)
    return path


def with_weights(spec: str, folder: Path) -> str:
    """Return a spelling of a method with a file of random weights, if it needs one."""
    cls = registry().method(parse_spec(spec)[0])
    if not cls.requires_weights:
        return spec
    return f"{spec}{',' if ':' in spec else ':'}weights={weights_file(folder, cls)}"
