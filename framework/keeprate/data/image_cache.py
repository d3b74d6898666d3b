"""Decoded images kept on disk: each is decoded and cut out once, then read from a memory map."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import PIL
import torch
import torchvision
from torch import Tensor

from ..backbones.loading.model_input import ModelInput
from ..dataset import DataSet
from ..errors import KeeprateError
from ..plugins.code_hash import source_sha256
from ..plugins.parameters import values_of
from ..results.atomic_files import explained
from . import images
from .image_cache_file import CropFile, in_words, replacing

if TYPE_CHECKING:
    from pydantic import JsonValue

FORMAT_VERSION: Final = 1
SPOT_CHECKS: Final = 4
"""Images that are decoded afresh, and compared, each time a cache is opened."""


@dataclass(frozen=True)
class Contents:
    """Everything that decides which pixels a cache holds.

    Where the stored size of every image is known, the fingerprint tells data sets apart wherever
    they lie, and parameters that are paths are left out. `fill` counts where images have borders.
    Not noticed: an image changed in place, after it was kept, to another of as many stored bytes.
    """

    format_version: int
    data: str
    parameters: Mapping[str, JsonValue]
    fingerprint: str
    source: str
    images: int
    image_size: tuple[int, int]
    interpolation: str
    crop_pct: float
    crop_mode: str
    fill: tuple[int, ...]
    software: Mapping[str, str]

    @classmethod
    def of(cls, data: DataSet, given: ModelInput) -> Contents:
        """Describe the crops that a transform for `given` makes of all samples of `data`."""
        return cls(
            format_version=FORMAT_VERSION,
            data=data.name,
            parameters=_parameters(data),
            fingerprint=data.fingerprint(),
            source=source_sha256(type(data)),
            images=len(data.samples()),
            image_size=given.image_size,
            interpolation=given.interpolation,
            crop_pct=given.crop_pct,
            crop_mode=given.crop_mode,
            fill=given.fill if given.crop_mode == "border" else (),
            software=_software(),
        )

    @property
    def text(self) -> bytes:
        """The description that stands beside the file, JSON."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @property
    def key(self) -> str:
        """16 hexadecimal digits, others wherever anything here is different: the file's name."""
        return hashlib.sha256(self.text).hexdigest()[:16]


class DecodedCache:
    """Gives the crops of a data set's samples: decoded the first time, read afterwards.

    Call it with a sample's index for its crop (3, H, W) uint8. `note` says where the crops are kept
    and how many are there. One that does not fit its checksum is decoded again, with a warning.
    """

    def __init__(self, data: DataSet, crop: Callable[[Tensor], Tensor], file: CropFile) -> None:
        self.data, self.crop, self.file = data, crop, file
        self.writable, self.note = True, ""

    @classmethod
    def open(
        cls,
        folder: Path,
        data: DataSet,
        given: ModelInput,
        crop: Callable[[Tensor], Tensor],
        indices: Sequence[int],
    ) -> DecodedCache:
        """Open the cache of `data` in `folder`, with space for the samples at `indices`.

        `crop` is the first step of the transform for `given`. Runs on different samples share a
        file. One that is damaged, or has other pixels than the images that are decoded to compare,
        is built anew. Raises KeeprateError for a folder that cannot be written to or has too little
        space; crops in a folder that can only be read are used all the same.
        """
        contents = Contents.of(data, given)
        file = CropFile(folder / f"{contents.key}.uint8", (contents.images, 3, *given.image_size))
        cache = cls(data, crop, file)
        with explained(folder):
            found = file.path.exists()
        fault = cache._fault(contents, indices) if found else None
        with explained(folder):
            if fault or not found:
                cache._create(contents)
            cache._make_room(indices)
        cache.note = cache._summary(indices, fault)
        return cache

    def __call__(self, index: int) -> Tensor:
        kept = self.file.holds(index)  # asked first: another process may write it any moment
        if kept and (crop := self.file.read(index)) is not None:
            return crop
        if kept:
            self._warn("holds a damaged image, which is decoded again")
        crop = self.crop(self.data.image(index))
        self._keep(index, crop)
        return crop

    def _keep(self, index: int, crop: Tensor) -> None:
        if crop.dtype != torch.uint8 or tuple(crop.shape) != self.file.shape[1:]:
            raise KeeprateError(
                f"Data set '{self.data.name}' gives images that are not (3, H, W) uint8: leave "
                "--cache-decoded out."
            )
        if not self.writable:
            return
        try:
            self.file.write(index, crop)
        except OSError as error:
            self._warn(f"takes no more images ({error.strerror}), which are decoded every time")

    def _warn(self, what: str) -> None:
        """Say it once in a process: Python shows equal warnings of one place once."""
        warnings.warn(f"{self.file.path} {what}.", stacklevel=2)

    def _fault(self, contents: Contents, indices: Sequence[int]) -> str | None:
        """Say why the file that is there cannot be used, None where it can."""
        if not self.file.is_whole():
            return "is not whole"
        if _described(self.file.path) != contents.text:
            return "lacks its description"
        there = self.file.there()
        chosen = _spread([index for index in indices if there[index]], SPOT_CHECKS)
        stored = {index: self.file.read(index) for index in chosen}
        if len(chosen) == SPOT_CHECKS and all(crop is None for crop in stored.values()):
            return "is damaged"
        for index, crop in stored.items():
            if crop is not None and not torch.equal(crop, self.crop(self.data.image(index))):
                return "holds other images"
        return None

    def _create(self, contents: Contents) -> None:
        """Put an empty file in place, its description first: no file is without one."""
        with replacing(_description(self.file.path)) as file:
            file.write(contents.text)
        self.file.create()

    def _make_room(self, indices: Sequence[int]) -> None:
        self.writable = os.access(self.file.path, os.W_OK)
        wanted = np.unique(np.array(indices, dtype=np.int64))
        missing = wanted[~self.file.there()[wanted]]
        if self.writable and len(missing):
            self.file.reserve(missing)

    def _summary(self, indices: Sequence[int], fault: str | None) -> str:
        there = int(self.file.there()[np.array(indices, dtype=np.int64)].sum())
        size = in_words(len(indices) * self.file.crop_bytes)
        where = f"Decoded images are kept in {self.file.path}"
        parts = [f"{where} ({size}, {there} of {len(indices)} there)."]
        if there < len(indices) and not self.writable:
            parts.append("It can only be read: the others are decoded every time.")
        if fault:
            parts.append(f"The file found there {fault} and is built anew.")
        return " ".join(parts)


def _parameters(data: DataSet) -> dict[str, JsonValue]:
    sized = all(data.stored_bytes(index) for index in range(len(data.samples())))
    values = values_of(data)
    paths = [name for name in values if isinstance(getattr(data, name), Path)]
    return {name: value for name, value in values.items() if not (sized and name in paths)}


def _software() -> dict[str, str]:
    """Return what else may decode or resize differently by a grey level."""
    return {
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
        "pillow": str(PIL.__version__),
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "transform": hashlib.sha256(Path(images.__file__).read_bytes()).hexdigest(),
    }


def _description(path: Path) -> Path:
    return path.with_suffix(".json")


def _described(path: Path) -> bytes | None:
    try:
        return _description(path).read_bytes()
    except OSError:
        return None


def _spread(indices: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the indices, evenly spread."""
    count = min(most, len(indices))
    return [indices[place * len(indices) // count] for place in range(count)]
