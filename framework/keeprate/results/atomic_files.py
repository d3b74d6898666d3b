"""Files that appear whole or not at all, whenever the writer is stopped."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import KeeprateError

_ABANDONED_AFTER_SECONDS: Final = 24 * 3600
_REMEDIES: Final = {
    errno.ENOSPC: "Free some space there, or choose another folder",
    errno.EDQUOT: "Free some space there, or choose another folder",
    errno.EEXIST: "A file has the name of the folder: choose another",
    errno.ENOTDIR: "A file has the name of a folder: choose another",
}


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files of one folder, of which the last vouches for the others.

    Everything is on the disk under temporary names before any name is taken; the last file is
    taken away first and put back last. So no reader ever finds half a file, nor a last file
    beside others of another time. Temporary files of writers that were killed are removed.
    Raises KeeprateError, in one line, for a folder that cannot be written to or is full.
    """
    targets = list(contents)
    folder = targets[-1].parent
    waiting = {target: _temporary(target) for target in targets}
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, targets)
        try:
            for target, content in contents.items():
                _write_through(waiting[target], content)
            if len(targets) > 1:
                targets[-1].unlink(missing_ok=True)
            for target, temporary in waiting.items():
                os.replace(temporary, target)
        finally:
            for temporary in waiting.values():
                temporary.unlink(missing_ok=True)
        _sync_folder(folder)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the system's errors in writing to `folder` into a KeeprateError that says what to do."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Choose a folder you may write to")
        reason = error.strerror or str(error)
        raise KeeprateError(f"Cannot write to {folder}: {reason}. {remedy}.") from error


def _temporary(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def _sweep(folder: Path, targets: Iterable[Path]) -> None:
    """Remove what killed writers left of these files, and of any others long ago."""
    ours = tuple(f".{target.name}." for target in targets)
    oldest = time.time() - _ABANDONED_AFTER_SECONDS
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if path.name.startswith(ours) or path.stat().st_mtime < oldest:
                path.unlink()


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new names last; only POSIX systems open folders for this."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
