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

_PRESENT: Final = 1 << 32  # above the 32 bits of a CRC, so that no checksum is 0
# file systems that cannot allocate ahead answer with one of these
_CANNOT_RESERVE: Final = (errno.EINVAL, errno.ENODEV, errno.ENOSYS, errno.EOPNOTSUPP)


class CropFile:
    """Crops of N samples, written in any order by any process, each with a checksum.

    `shape` is (N, 3, H, W). The crops come first, uint8, so that other programs can map them; then
    a checksum (N,) uint64 of each, 0 where a crop is missing. Two processes that write one crop
    write the same bytes. Each process reads through a shared memory map, which it opens when it
    first reads.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int, int]) -> None:
        self.path, self.shape = path, shape
        self.crop_bytes = int(np.prod(shape[1:]))
        self._checksums_start = -(-shape[0] * self.crop_bytes // 8) * 8  # rounded up to whole words
        self._map: NDArray[np.uint8] | None = None
        self._identity = (0, 0)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_map": None}  # a worker process maps the file itself

    @property
    def size(self) -> int:
        """The length of the file in bytes; missing crops take no space on the disk."""
        return self._checksums_start + 8 * self.shape[0]

    def is_whole(self) -> bool:
        """Tell whether the file exists and has the right length."""
        return self.path.is_file() and self.path.stat().st_size == self.size

    def create(self) -> None:
        """Replace the file by an empty one; its readers keep the old one. Raises OSError."""
        with replacing(self.path) as file:
            # a seek leaves a hole, which takes no disk space
            file.seek(self._checksums_start)
            file.write(bytes(8 * self.shape[0]))
        self._map = None

    def reserve(self, missing: NDArray[np.int64]) -> None:
        """Take the disk space of the crops at the sorted indices `missing`.

        Raises OSError (ENOSPC) where there is too little: better now than in the middle of a pass.
        """
        allocated = getattr(self.path.stat(), "st_blocks", 0) * 512  # POSIX counts blocks of 512
        used = int(self.there().sum()) * self.crop_bytes + 8 * self.shape[0]
        # what an earlier process allocated and did not fill is no longer among the free bytes
        needed = len(missing) * self.crop_bytes - max(0, allocated - used)
        free = shutil.disk_usage(self.path.parent).free
        if needed > free:
            reason = f"decoded images need {in_words(needed)}, {in_words(free)} are free"
            raise OSError(errno.ENOSPC, reason)
        if hasattr(os, "posix_fallocate"):  # macOS and Windows have no such call
            with self.path.open("r+b") as file:
                _allocate(file, missing, self.crop_bytes)

    def there(self) -> NDArray[np.bool_]:
        """Return for every sample (N,) whether the file holds its crop."""
        is_there: NDArray[np.bool_] = self._checksums() != 0
        return is_there

    def holds(self, index: int) -> bool:
        """Tell whether the file holds a sample's crop, damaged or not."""
        if not self._checksums()[index]:
            self._remap_if_replaced()
        return bool(self._checksums()[index])

    def read(self, index: int) -> Tensor | None:
        """Return a crop (3, H, W) uint8, None where it is missing or does not fit its checksum.

        Raises KeeprateError for a file that cannot be mapped.
        """
        if not self.holds(index):
            return None
        start = index * self.crop_bytes
        pixels = self._bytes()[start : start + self.crop_bytes].copy()
        is_intact = self._checksums()[index] == _checksum(index, pixels)
        return torch.from_numpy(pixels).view(self.shape[1:]) if is_intact else None

    def write(self, index: int, crop: Tensor) -> None:
        """Write a crop (3, H, W) uint8 and its checksum. Raises OSError."""
        pixels = crop.contiguous().view(-1).numpy()
        # not through the map: on a full disk a map ends the process, and a write raises an error
        with self.path.open("r+b") as file:
            file.seek(index * self.crop_bytes)
            file.write(pixels.data)
            # the checksum comes last: if a writer is stopped, no half crop passes for a whole one
            file.flush()
            file.seek(self._checksums_start + 8 * index)
            file.write(_checksum(index, pixels).to_bytes(8, "little"))

    def _checksums(self) -> NDArray[np.uint64]:
        return self._bytes()[self._checksums_start :].view("<u8")

    def _bytes(self) -> NDArray[np.uint8]:
        """Return the mapped file, read-only.

        A private map would spare `read` its copy, but no system grants one larger than its memory.
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
            self._map = mapped.view(np.ndarray)  # slices of a plain array are faster to make
        return self._map

    def _remap_if_replaced(self) -> None:
        """Map the file again where another process has put a new one in place."""
        if self.is_whole() and _identity(self.path.stat()) != self._identity:
            self._map = None


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that gets the name `path` once it is written. Raises OSError.

    Any number of processes may do so at once: the file of the last one stays.
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
    """Allocate blocks for crops; on a file system that cannot, `write` raises the error later."""
    # one call for each run of neighbours, not one for each crop
    jumps = np.flatnonzero(np.diff(missing) != 1) + 1
    try:
        for run in np.split(missing, jumps):
            os.posix_fallocate(file.fileno(), int(run[0]) * crop_bytes, len(run) * crop_bytes)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def _checksum(index: int, pixels: NDArray[np.uint8]) -> int:
    """Return the CRC-32 of a crop, marked as present, never 0."""
    # it starts from the index, so that a crop at a wrong position counts as damaged
    return _PRESENT | zlib.crc32(pixels.data, index & 0xFFFFFFFF)


def _identity(status: os.stat_result) -> tuple[int, int]:
    """Return the device and inode, which differ for a file that took the same name."""
    return status.st_dev, status.st_ino
