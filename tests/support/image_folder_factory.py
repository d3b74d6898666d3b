"""A folder of small photographs as a data set, and what the cache made of it gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from keeprate import DataSet, Sample
from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.images import decode
from keeprate.data.preprocessing import ImagePreparation, Preprocessed
from keeprate.data.samples import ImageSamples

IMAGES = 12
GIVEN = ModelInput(
    image_size=(32, 40),
    mean=(0.5, 0.4, 0.3),
    std=(0.5, 0.25, 0.2),
    interpolation="bicubic",
    crop_pct=0.9,
    crop_mode="center",
)
CROP_BYTES = 3 * 32 * 40


class Folder(DataSet):
    """All images below a folder; remembers which were decoded."""

    name = "folder"

    def __init__(self, root: Path, pattern: str = "*.jpg") -> None:
        self.root, self.pattern = root, pattern
        self.paths = sorted(root.glob(pattern))
        self.decoded: list[int] = []

    def samples(self) -> Sequence[Sample]:
        return [Sample(path.relative_to(self.root).as_posix(), 0) for path in self.paths]

    def image(self, index: int) -> Tensor:
        self.decoded.append(index)
        return decode(self.paths[index])

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        pass

    def content(self, index: int) -> Path | str | None:
        return self.paths[index]


class Careless(Folder):
    """As above, but it says that the content is always the same."""

    def content(self, index: int) -> str:
        return "the same"


def draw(root: Path, images: int = IMAGES, seed: int = 0) -> Path:
    """Write JPEG files of different sizes, smooth as photographs are."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(seed)
    for index in range(images):
        coarse = Image.fromarray(random.randint(0, 256, (4, 5, 3)).astype(np.uint8))
        size = (50 + 7 * (index % 5), 45 + 5 * (index % 7))
        coarse.resize(size, Image.Resampling.BICUBIC).save(root / f"{index:05d}.jpg")
    return root


def prepare(
    data: DataSet,
    cache: Path | None,
    indices: Sequence[int] | None = None,
    given: ModelInput = GIVEN,
) -> Preprocessed:
    chosen = range(len(data.samples())) if indices is None else indices
    return ImagePreparation(data, given).prepare(chosen, cache)


def images(prepared: Preprocessed) -> list[Tensor]:
    return [item(prepared.samples, position) for position in range(len(prepared.samples))]


def item(samples: Any, position: int) -> Tensor:
    assert isinstance(samples, ImageSamples)
    return samples[position][0]


def equal(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def cache_file(cache: Path) -> Path:
    """The one file of crops in a folder."""
    (path,) = cache.glob("*.uint8")
    return path
