"""The samples of a data set, in the form that a PyTorch data loader takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.utils.data import Dataset, default_collate

from ..dataset import DataSet, TextDataSet


def default_workers(cls: type[DataSet]) -> int:
    """Return how many processes decode images: none where there is nothing to decode."""
    nothing_to_decode = cls.embedded or issubclass(cls, TextDataSet)
    return 0 if nothing_to_decode else min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class SeenImages:
    """What a model sees of the images of a data set: called with an index, (3, H, W) uint8.

    `crop` resizes and cuts out; `kept` returns what it makes of a sample, where that is kept.
    """

    data: DataSet
    crop: Callable[[Tensor], Tensor]
    kept: Callable[[int], Tensor] | None = None

    def __call__(self, index: int) -> Tensor:
        crop = self.crop(self.data.image(index)) if self.kept is None else self.kept(index)
        return self.data.seen(index, crop)


class ImageSamples(Dataset[tuple[Tensor, int]]):
    """The samples of a data set at `indices`, transformed for a model, for a `DataLoader`.

    Items are (image, index): a float image (3, H, W), and the position in `data.samples()`.
    `collate` makes a batch of several. `load` returns the input of `transform` for a sample's
    index; by default it is the decoded image.
    """

    collate = staticmethod(default_collate)

    def __init__(
        self,
        data: DataSet,
        transform: Callable[[Tensor], Tensor],
        indices: Sequence[int],
        load: Callable[[int], Tensor] | None = None,
    ) -> None:
        self.data = data
        self.transform = transform
        self.indices = tuple(indices)
        self.load = load or data.image

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        index = self.indices[position]
        return self.transform(self.load(index)), index
