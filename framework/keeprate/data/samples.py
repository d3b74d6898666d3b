"""The samples of a data set, in the form that a PyTorch data loader takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ..dataset import DataSet, TextDataSet

MOST_WORKERS: Final = 16
"""More would keep too many batches in memory, two each, before a model is fast enough for them."""


def default_workers(cls: type[DataSet], devices: int | str = 1) -> int:
    """Return how many processes decode images: none where there is nothing to decode.

    Otherwise all processors that this process may use, shared between the processes that compute,
    of which each of the `devices` has one with workers of its own.
    """
    if cls.embedded or issubclass(cls, TextDataSet):
        return 0
    processes = devices if isinstance(devices, int) and devices > 0 else torch.cuda.device_count()
    return max(1, min(MOST_WORKERS, usable_processors() // max(1, processes)))


def usable_processors() -> int:
    """Return how many processors the system lets this process use."""
    if hasattr(os, "sched_getaffinity"):  # Linux: those of a job or a container may be fewer
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class SeenImages:
    """What a model sees of the images of a data set: called with an index, (3, H, W) uint8.

    `crop` resizes and cuts out; `kept` returns what it makes of a sample, where that is kept.
    """

    data: DataSet
    crop: Callable[[Tensor], Tensor]
    kept: Callable[[int, Callable[[int], Tensor]], Tensor] | None = None

    def __call__(self, index: int, decode: Callable[[int], Tensor] | None = None) -> Tensor:
        """Return what the model sees; `decode` returns the decoded image in place of the data."""
        decode = decode or self.data.image
        crop = self.crop(decode(index)) if self.kept is None else self.kept(index, decode)
        return self.data.seen(index, crop)


Size: TypeAlias = tuple[int, int]
"""Height and width of images in pixels."""


@dataclass(frozen=True)
class SizedImages:
    """The images of a data set at several sizes: called with an index, a tensor for each size.

    An image is decoded once for all of them. A data set that changes what a model sees does so at
    the model's `own` size; the others are made from that (`resize`).
    """

    own: Size
    by_size: Mapping[Size, SeenImages]
    wanted: tuple[Size, ...]
    resize: Callable[[Tensor, Size], Tensor]

    def __call__(self, index: int) -> dict[Size, Tensor]:
        seen = self.by_size[self.own]
        if type(seen.data).seen is not DataSet.seen:
            image = seen(index)
            return {size: self.resize(image, size) for size in self.wanted}
        decode = cache(seen.data.image)
        return {size: self.by_size[size](index, decode) for size in self.wanted}


class ImageSamples(Dataset[tuple[Tensor | dict[Size, Tensor], int]]):
    """The samples of a data set at `indices`, transformed for a model, for a `DataLoader`.

    Items are (image, index): a float image (3, H, W), and the position in `data.samples()`; or
    images by size in place of one, where `load` is `SizedImages`. `collate` makes a batch of
    several. `load` returns the input of `transform` for a sample's index; by default it is the
    decoded image.
    """

    collate = staticmethod(default_collate)

    def __init__(
        self,
        data: DataSet,
        transform: Callable[[Tensor], Tensor],
        indices: Sequence[int],
        load: Callable[[int], Tensor] | SizedImages | None = None,
    ) -> None:
        self.data = data
        self.transform = transform
        self.indices = tuple(indices)
        self.load: Callable[[int], Tensor] | SizedImages = load or data.image

    def at(self, sizes: Collection[Size]) -> ImageSamples:
        """Return the same samples at these sizes alone, among those that they are prepared at."""
        if not isinstance(self.load, SizedImages):
            return self
        own = self.load.own
        wanted = tuple(size for size in self.load.wanted if size in sizes)
        load = self.load.by_size[own] if wanted == (own,) else replace(self.load, wanted=wanted)
        return ImageSamples(self.data, self.transform, self.indices, load)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor | dict[Size, Tensor], int]:
        index = self.indices[position]
        image = self.load(index)
        if isinstance(image, dict):
            return {size: self.transform(part) for size, part in image.items()}, index
        return self.transform(image), index
