"""A file of decoded images that many processes fill and read: a memory map with checksums."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import KeeprateError

_THERE: Final = 1 << 32  # above the 32 bits of a CRC, so that no checksum is 0
_CANNOT_RESERVE: Final = (errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)


class CropFile:
    """Crops of N samples, written in any order by any process, each with a checksum.

    `shape` is (N, 3, H, W). The crops come first, uint8, so that other programs can map them; then
    a checksum (N,) uint64 of each, 0 where a crop is not there. It is written after its crop: of a
    writer that is stopped no half crop passes for a whole one, and two that write one crop write
    the same bytes. Reading goes through a shared memory map that each process opens when it first
    reads. Writing does not: on a full disk a map ends the process, and a write raises an error.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self.path, self.shape = path, shape
        self.crop_bytes = int(np.prod(shape[1:]))
        self._sums_start = -(-shape[0] * self.crop_bytes // 8) * 8  # rounded up to whole words
        self._map: NDArray[np.uint8] | None = None
        self._identity = (0, 0)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_map": None}

    @property
    def size(self) -> int:
        """Length of the file in bytes; crops that are not there take no space on the disk."""
        return self._sums_start + 8 * self.shape[0]

    def is_whole(self) -> bool:
        """Tell whether a file of the right length is there."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def create(self) -> None:
        """Put an empty file in place of any other, which its readers go on with. Raises OSError."""
        with replacing(self.path) as file:
            file.seek(self._sums_start)
            file.write(bytes(8 * self.shape[0]))
        self._map = None

    def reserve(self, missing: NDArray[np.int64]) -> None:
        """Take the disk space of the crops at the sorted indices `missing`, which are not there.

        Raises OSError (ENOSPC) where there is too little: better now than in the middle of a pass.
        """
        taken = getattr(self.path.stat(), "st_blocks", 0) * 512
        there = int(self.there().sum()) * self.crop_bytes + 8 * self.shape[0]
        needed = len(missing) * self.crop_bytes - max(0, taken - there)
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            reason = f"decoded images need {in_words(needed)}, {in_words(free)} are free"
            raise OSError(errno.ENOSPC, reason)
        if hasattr(os, "posix_fallocate"):
            with self.path.open("r+b") as file:
                _allocate(file, missing, self.crop_bytes)

    def there(self) -> NDArray[np.bool_]:
        """Tell of every sample (N,) whether its crop is there."""
        there: NDArray[np.bool_] = self._sums() != 0
        return there

    def holds(self, index: int) -> bool:
        """Tell whether a sample's crop is there, damaged or not."""
        if not self._sums()[index]:
            self._follow()
        return bool(self._sums()[index])

    def read(self, index: int) -> Tensor | None:
        """Return a crop (3, H, W) uint8, None where it is not there or does not fit its checksum.

        Raises KeeprateError for a file that cannot be mapped.
        """
        if not self.holds(index):
            return None
        start = index * self.crop_bytes
        pixels = self._bytes()[start : start + self.crop_bytes].copy()
        whole = self._sums()[index] == _checksum(index, pixels)
        return torch.from_numpy(pixels).view(self.shape[1:]) if whole else None

    def write(self, index: int, crop: Tensor) -> None:
        """Put a crop (3, H, W) uint8 in its place. Raises OSError."""
        pixels = crop.contiguous().view(-1).numpy()
        with self.path.open("r+b") as file:
            file.seek(index * self.crop_bytes)
            file.write(pixels.data)
            file.flush()
            file.seek(self._sums_start + 8 * index)
            file.write(_checksum(index, pixels).to_bytes(8, "little"))

    def _sums(self) -> NDArray[np.uint64]:
        return self._bytes()[self._sums_start :].view("<u8")

    def _bytes(self) -> NDArray[np.uint8]:
        """Return the mapped file, read-only.

        A private map would spare `read` its copy, but no system lends one larger than its memory.
        """
        if self._map is None:
            try:
                with self.path.open("rb") as file:
                    self._identity = _identity(os.fstat(file.fileno()))
                    mapped = np.memmap(file, np.uint8, mode="r", shape=(self.size,))
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is cut short"
                raise KeeprateError(
                    f"Cannot read {self.path}: {reason}. Remove the file, and it is built anew."
                ) from error
            self._map = mapped.view(np.ndarray)
        return self._map

    def _follow(self) -> None:
        """Map the file again where another process has put a new one in place."""
        if self.is_whole() and _identity(self.path.stat()) != self._identity:
            self._map = None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the name `path` once it is written. Raises OSError.

    Any number of processes may do so at once: the last one's file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def in_words(size: int) -> str:
    """Return a number of bytes as "75.3 MB" or "7.5 GB"."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _allocate(file: BinaryIO, missing: NDArray[np.int64], crop_bytes: int) -> None:
    """Allocate blocks, as far as the file system can: where it cannot, a write tells."""
    jumps = np.flatnonzero(np.diff(missing) != 1) + 1
    try:
        for run in np.split(missing, jumps):
            os.posix_fallocate(file.fileno(), int(run[0]) * crop_bytes, len(run) * crop_bytes)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def _checksum(index: int, pixels: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of a crop, begun with its index: a crop in a wrong place is damaged."""
    return _THERE | zlib.crc32(pixels.data, index & 0xFFFFFFFF)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
