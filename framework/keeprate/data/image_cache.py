"""Keep decoded images on disk: each is decoded and cut out once, then read from a memory map."""

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
import torch
from torch import Tensor

from ..backbones.loading.model_input import ModelInput
from ..dataset import DataSet
from ..errors import KeeprateError
from ..plugins.nested_data import data_source, parameters_and_places
from ..results.atomic_files import explained
from .image_cache_file import CropFile, in_words, replacing
from .software import decoding_software

if TYPE_CHECKING:
    from pydantic import JsonValue

FORMAT_VERSION: Final = 1
SPOT_CHECKS: Final = 4
"""How many images are decoded again, and compared, each time a cache is opened."""


@dataclass(frozen=True)
class Contents:
    """Everything that decides which pixels a cache holds.

    The fingerprint has the content of every image, so that a data set is the same in any folder,
    and another one as soon as an image is replaced: parameters that are paths are left out. `fill`
    is empty unless images have borders.
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
    def of(cls, data: DataSet, given: ModelInput, size: tuple[int, int] | None = None) -> Contents:
        """Describe the crops that a transform for `given` makes of all samples of `data`.

        `size` is as for `build_transform`: in the model's own proportions, the crops are those of
        a model of that size.
        """
        (height, width), (rows, columns) = given.image_size, size or given.image_size
        squeezed = f" of {height} x {width}" if height * columns != width * rows else ""
        return cls(
            format_version=FORMAT_VERSION,
            data=data.name,
            parameters=parameters_and_places(data)[0],
            fingerprint=data.fingerprint(),
            source=data_source(data),
            images=len(data.samples()),
            image_size=(rows, columns),
            interpolation=given.interpolation,
            crop_pct=given.crop_pct,
            crop_mode=f"{given.crop_mode}{squeezed}",
            fill=given.fill if given.crop_mode == "border" else (),
            software=_software(),
        )

    @property
    def text(self) -> bytes:
        """The description that is written beside the file, as JSON."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @property
    def key(self) -> str:
        """The name of the file: 16 hexadecimal digits, a hash of the whole description."""
        return hashlib.sha256(self.text).hexdigest()[:16]


class DecodedCache:
    """Returns the crops of a data set's samples: decoded the first time, read afterwards.

    Call it with a sample's index for its crop (3, H, W) uint8, and with what decodes an image, if
    it is decoded for others as well. `note` says where the crops are kept and how many there are. A
    crop that does not fit its checksum is decoded again, with a warning.
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
        size: tuple[int, int] | None = None,
    ) -> DecodedCache:
        """Open the cache of `data` in `folder`, with space for the samples at `indices`.

        `crop` is the first step of the transform for `given` and `size`. Runs on different samples
        share a file. A file that is damaged, or has other pixels than images that are decoded to
        compare, is built anew. Raises KeeprateError for a folder that cannot be written to or has
        too little space; the crops in a folder that can only be read are still used.
        """
        contents = Contents.of(data, given, size)
        shape = (contents.images, 3, *contents.image_size)
        file = CropFile(folder / f"{contents.key}.uint8", shape)
        cache = cls(data, crop, file)
        with explained(folder):
            exists = file.path.exists()
        # outside `explained`: an error in decoding has nothing to do with the folder
        fault = cache._find_fault(contents, indices) if exists else None
        with explained(folder):
            if fault or not exists:
                cache._create_file(contents)
            cache._reserve_space(indices)
        cache.note = cache._summary(indices, fault)
        return cache

    def __call__(self, index: int, decode: Callable[[int], Tensor] | None = None) -> Tensor:
        # asked before reading: another process may write the crop at any moment, and a crop that
        # is only missing must not be taken for a damaged one
        is_kept = self.file.holds(index)
        if is_kept and (crop := self.file.read(index)) is not None:
            return crop
        if is_kept:
            self._warn("holds a damaged image, which is decoded again")
        crop = self.crop((decode or self.data.image)(index))
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
        except OSError as error:  # the run goes on: the cache only saves time
            self._warn(f"takes no more images ({error.strerror}), which are decoded every time")

    def _warn(self, message: str) -> None:
        """Warn that the file has a problem; `message` continues the sentence after its path."""
        # Python shows equal warnings of one line of code once in a process
        warnings.warn(f"{self.file.path} {message}.", stacklevel=2)

    def _find_fault(self, contents: Contents, indices: Sequence[int]) -> str | None:
        """Return why the file in the folder cannot be used, None if it can."""
        if not self.file.is_whole():
            return "is not whole"
        if _read_description(self.file.path) != contents.text:
            return "lacks its description"
        is_there = self.file.there()
        checked = _spread_evenly([index for index in indices if is_there[index]], SPOT_CHECKS)
        crops = {index: self.file.read(index) for index in checked}
        # a few damaged crops are decoded again one by one; if all are, the file is lost
        if len(checked) == SPOT_CHECKS and all(crop is None for crop in crops.values()):
            return "is damaged"
        for index, crop in crops.items():
            if crop is not None and not torch.equal(crop, self.crop(self.data.image(index))):
                return "holds other images"
        return None

    def _create_file(self, contents: Contents) -> None:
        """Write the description, then an empty file."""
        # in this order: a process that is stopped in between leaves no file without description
        with replacing(_description_path(self.file.path)) as file:
            file.write(contents.text)
        self.file.create()

    def _reserve_space(self, indices: Sequence[int]) -> None:
        """Take the disk space for the crops at `indices` that are missing. Raises OSError."""
        self.writable = os.access(self.file.path, os.W_OK)
        unique = np.unique(np.array(indices, dtype=np.int64))
        missing = unique[~self.file.there()[unique]]
        if self.writable and len(missing):
            self.file.reserve(missing)

    def _summary(self, indices: Sequence[int], fault: str | None) -> str:
        count = int(self.file.there()[np.array(indices, dtype=np.int64)].sum())
        size = in_words(len(indices) * self.file.crop_bytes)
        start = f"Decoded images are kept in {self.file.path}"
        sentences = [f"{start} ({size}, {count} of {len(indices)} there)."]
        if count < len(indices) and not self.writable:
            sentences.append("It can only be read: the others are decoded every time.")
        if fault:
            sentences.append(f"The file found there {fault} and is built anew.")
        return " ".join(sentences)


def _software() -> dict[str, str]:
    """Return what else can change a pixel by a grey level: versions, our code, the processor."""
    processor = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return {**decoding_software(), "processor": processor}


def _description_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _read_description(path: Path) -> bytes | None:
    try:
        return _description_path(path).read_bytes()
    except OSError:
        return None


def _spread_evenly(indices: Sequence[int], most: int) -> list[int]:
    """Return at most `most` of the indices, evenly spread."""
    count = min(most, len(indices))
    return [indices[position * len(indices) // count] for position in range(count)]
