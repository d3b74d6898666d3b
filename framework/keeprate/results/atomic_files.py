"""Files that appear whole or not at all, whenever the writer is stopped."""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import KeeprateError

# a younger temporary file may belong to a process that is still writing it
_ABANDONED_AFTER_SECONDS: Final = 24 * 3600
_REMEDIES: Final = {
    errno.ENOSPC: "Free some space there, or choose another folder",
    errno.EDQUOT: "Free some space there, or choose another folder",
    errno.EEXIST: "A file has the name of the folder: choose another",
    errno.ENOTDIR: "A file has the name of a folder: choose another",
}


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files of one folder; the last of them vouches for the others.

    All files are on the disk under temporary names before any gets its own name. The old last file
    is removed first, the new one is renamed last. So no reader ever finds half a file, or a last
    file beside others of another time. Temporary files of writers that were killed are removed.
    Raises KeeprateError, in one line, for a folder that cannot be written to or is full.
    """
    targets = list(contents)
    folder = targets[-1].parent
    temporaries = {target: _temporary_path(target) for target in targets}
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder, targets)
        try:
            for target, content in contents.items():
                _write_through(temporaries[target], content)
            # a single file has no others to vouch for: it is replaced without a gap
            if len(targets) > 1:
                targets[-1].unlink(missing_ok=True)
            for target, temporary in temporaries.items():
                os.replace(temporary, target)
        finally:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
        _sync_folder(folder)


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write into; without an error, its files move to `folder` at the end.

    All are on the disk before any of them gets its place, where it replaces one of its name; after
    an error none does. Raises KeeprateError as `write_together` does; other errors of whoever
    writes stay as they are.
    """
    temporary = _temporary_path(folder / "files")
    with explained(folder):
        temporary.mkdir(parents=True)
    try:
        yield temporary
        with explained(folder):
            _remove_leftovers(folder, ())
            _move(temporary, folder)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # who writes may read other files, too
            raise
        with explained(folder):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _move(temporary: Path, folder: Path) -> None:
    files = [path for path in temporary.rglob("*") if path.is_file()]
    for path in files:
        _sync(path)
    for path in files:
        target = folder / path.relative_to(temporary)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
    _sync_folder(folder)


@contextmanager
def explained(folder: Path) -> Iterator[None]:
    """Turn the system's errors in writing to `folder` into a KeeprateError that says what to do."""
    try:
        yield
    except OSError as error:
        # some errors have no number
        remedy = _REMEDIES.get(error.errno or 0, "Choose a folder you may write to")
        reason = error.strerror or str(error)
        raise KeeprateError(f"Cannot write to {folder}: {reason}. {remedy}.") from error


def _temporary_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def _remove_leftovers(folder: Path, targets: Iterable[Path]) -> None:
    """Remove temporary files that killed writers left: of these targets, and all old ones."""
    prefixes = tuple(f".{target.name}." for target in targets)
    oldest = time.time() - _ABANDONED_AFTER_SECONDS
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):  # two processes may be clearing up at a time
            if path.name.startswith(prefixes) or path.stat().st_mtime < oldest:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        # without fsync, a power cut could leave a renamed file without its content
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the new names survive a power cut; only POSIX systems can open folders for this."""
    if os.name == "posix":
        _sync(folder)


def _sync(path: Path) -> None:
    # Windows syncs only what is open for writing
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
