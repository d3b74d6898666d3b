"""A few images selected by name, as a model sees them: files, or samples of a data set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..backbone import Backbone
from ..backbones.loading.loaded import LoadedModel, classes_of
from ..data.images import build_transform, decode
from ..data.preprocessing import TextPreparation, preparation
from ..data.samples import ImageSamples, SeenImages
from ..dataset import DataSet, Sample
from ..errors import KeeprateError
from .patch_pictures import Pixels


class ImageFiles(DataSet):
    """Image files of any name and no label, each a sample by its path."""

    name: ClassVar[str] = "files"

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        """Take any model: there are no labels."""

    def samples(self) -> Sequence[Sample]:
        """Return a sample for each file, whose label -1 stands for none."""
        return [Sample(str(path), -1) for path in self.paths]

    def image(self, index: int) -> Tensor:
        """Return the decoded image (3, H, W) uint8; KeeprateError if it cannot be read."""
        return decode(self.paths[index])


@dataclass(frozen=True)
class SelectedImage:
    """One image: `crop` (H, W, 3) is the part that the model sees, `inputs` (1, 3, H, W) its input.

    `index` is its number in its data set, `label` its class there, None for an image file.
    """

    id: str
    index: int
    label: int | None
    crop: Pixels
    inputs: Tensor

    @property
    def title(self) -> str:
        """The name people know the image by: its id, or a file's name without its folder."""
        return Path(self.id).name if self.label is None else self.id

    @property
    def stem(self) -> str:
        """A name for files about the image, without folders and without the image's own suffix."""
        plain = Path(self.id).stem if self.label is None else self.id
        return re.sub(r"[^\w.-]+", "-", plain)


@dataclass(frozen=True)
class ImageSource:
    """The data set that images come from, and the model they are for."""

    loaded: LoadedModel
    backbone: Backbone
    data: DataSet

    def pick(self, names: Sequence[str]) -> list[SelectedImage]:
        """Return the images of these names, each once; a name is a path, a sample's id or index.

        `backbone.image_size` becomes that of the images. Raises KeeprateError for names that the
        data set does not have, images that cannot be read, and models of texts.
        """
        preprocessing = preparation(self.loaded, self.backbone, self.data)
        if isinstance(preprocessing, TextPreparation):
            raise KeeprateError(
                f"Model '{self.loaded.name}' reads texts: there are no patches to draw."
            )
        self.data.bind(*classes_of(self.loaded))
        transform = build_transform(preprocessing.given)
        seen = SeenImages(self.data, transform.crop)
        images = []
        for index in self._indices(names):
            sample, crop = self.data.samples()[index], seen(index)
            first = sample.label if isinstance(sample.label, int) else sample.label[0]
            label = None if first < 0 else first
            pixels = np.ascontiguousarray(crop.permute(1, 2, 0).numpy())
            images.append(
                SelectedImage(sample.id, index, label, pixels, transform.finish(crop)[None])
            )
        return images

    def inputs(self, index: int, size: tuple[int, int]) -> Tensor:
        """Return the image of a sample as a model of another `size` takes it, (1, 3, H, W)."""
        prepares = preparation(self.loaded, self.backbone, self.data)
        samples = prepares.prepare([index], sizes=[size]).samples
        assert isinstance(samples, ImageSamples)
        image, _ = samples.at({size})[0]
        return (image[size] if isinstance(image, dict) else image)[None]

    def _indices(self, names: Sequence[str]) -> list[int]:
        samples = self.data.samples()
        indices = {sample.id: index for index, sample in enumerate(samples)}
        # a dictionary drops repeated indices and keeps the order of the names
        return list(dict.fromkeys(_find_sample(self.data.name, name, indices) for name in names))


def _find_sample(data: str, name: str, indices: dict[str, int]) -> int:
    # ids go first: a data set may use numbers as ids, in another order than its indices
    if name in indices:
        return indices[name]
    if name.isdecimal() and len(name) < 19 and int(name) < len(indices):
        return int(name)
    raise KeeprateError(
        f"Data set '{data}' has no sample '{name}': give an id, as '{next(iter(indices), '')}', or "
        f"an index from 0 to {len(indices) - 1}. A file needs --model NAME and no --data."
    )


def grid_of(source: ImageSource) -> tuple[int, int]:
    """Return the rows and columns of the model's patches; KeeprateError where they are not known.

    Call it after the images are picked, because their size decides.
    """
    backbone = source.backbone
    grid = backbone.grid(backbone.image_size)
    if grid is None:
        height, width = backbone.image_size
        raise KeeprateError(
            f"Backbone '{backbone.name}' does not tell how its patches part an image of {height} x "
            f"{width} pixels: choose an --image-size of whole patches, or a model it does tell of."
        )
    return grid


def on_grid(values: Tensor, grid: tuple[int, int]) -> np.ndarray:
    """Return one value for each patch (P,) as (rows, columns)."""
    return values.detach().to(torch.device("cpu")).reshape(grid).numpy()


def check_blocks(blocks: Sequence[int] | None, depth: int) -> None:
    """Raise KeeprateError for a block that a model of `depth` blocks does not have."""
    beyond = [block for block in blocks or () if block >= depth]
    if beyond:
        raise KeeprateError(
            f"--blocks names block {beyond[0]}, but the model's blocks are 0 to {depth - 1}."
        )
