"""What was found out about files, kept between processes: an unchanged file is read once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import FileLock

VARIABLE: Final = "KEEPRATE_CACHE"
"""The environment variable that names the folder where answers are kept."""

_FORMAT: Final = "1"
_BLOCK: Final = 1024
_SAVE_EVERY_SECONDS: Final = 60.0
_CLOCK_STEP_NS: Final = 2_000_000_000
"""Two changes within this time may leave one time stamp: a file that was just changed is not
trusted to stay as it is."""

_Stamp = tuple[int, int, int, int]
_Kept = dict[str, tuple[_Stamp, str]]


@dataclass(frozen=True)
class FileQuestion:
    """Something that is asked of files, and answered from their content alone.

    `answer` takes files and returns a text for each. Answers of another `version` are not taken.
    Only an answer that is `lasting` is kept: that a disk failed is none.
    """

    name: str
    version: str
    answer: Callable[[Sequence[Path]], Sequence[str]]
    lasting: Callable[[str], bool]


def ask(question: FileQuestion, paths: Sequence[Path]) -> list[str]:
    """Return the answer for every file, from an earlier time where the file is the same since.

    A file is the same if its path, size, inode and times of modification and of change are; the
    last is set by the system, so that a file is seen to be replaced whose other time was put back.
    One process at a time examines the files of a folder; others wait, and take its answers.
    """
    if not paths:
        return []
    names = [os.path.abspath(path) for path in paths]
    shared = hashlib.sha256(os.fsencode(os.path.commonpath(names))).hexdigest()[:16]
    book = _Book(cache_folder() / "files" / f"{question.name}-{shared}.json", question)
    stamps = _stamps(names)
    if not book.missing(names, stamps):
        return [book.kept[name][1] for name in names]
    with book.alone():
        return book.fill(names, stamps)


def cache_folder() -> Path:
    """Return the folder that KEEPRATE_CACHE names, else `keeprate` in the user's cache folder."""
    # never raises, where Path.expanduser does for a user without a home
    if chosen := os.environ.get(VARIABLE):
        return Path(os.path.expanduser(chosen))
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "keeprate"


class _Book:
    """The answers to a question that are kept in one file: each with the stamp of its file."""

    def __init__(self, path: Path, question: FileQuestion) -> None:
        self.path, self.question = path, question
        self.kept = self._read()

    def missing(self, names: Sequence[str], stamps: Sequence[_Stamp | None]) -> dict[str, _Stamp]:
        """Return the files that must be examined; the stamp of one that is not there is zeros."""
        return {
            name: stamp or (0, 0, 0, 0)
            for name, stamp in zip(names, stamps, strict=True)
            if stamp is None or self.kept.get(name, (None, ""))[0] != stamp
        }

    def fill(self, names: Sequence[str], stamps: Sequence[_Stamp | None]) -> list[str]:
        """Examine what is missing, keep it, and return the answer for every file."""
        self.kept = self._read()  # another process may have been at work meanwhile
        missing = self.missing(names, stamps)
        found: dict[str, str] = {}
        saved = time.monotonic()
        try:
            for start in range(0, len(missing), _BLOCK):
                found |= self._examine(dict(list(missing.items())[start : start + _BLOCK]))
                if time.monotonic() - saved > _SAVE_EVERY_SECONDS:
                    self._save()
                    saved = time.monotonic()
        finally:
            self._save()
        return [found[name] if name in found else self.kept[name][1] for name in names]

    def _examine(self, stamps: dict[str, _Stamp]) -> dict[str, str]:
        """Return the answers for some files; keep those that can be trusted to stay right."""
        begun = time.time_ns()
        answers = self.question.answer([Path(name) for name in stamps])
        found = dict(zip(stamps, answers, strict=True))
        for name, stamp in stamps.items():
            # the stamp of before: a file that changes while it is read is another one later
            if begun - stamp[2] > _CLOCK_STEP_NS and self.question.lasting(found[name]):
                self.kept[name] = (stamp, found[name])
        return found

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process examines the same folder; where none can be kept out, go."""
        lock = FileLock(self.path.with_suffix(".lock"))
        with suppress(OSError, NotImplementedError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # filelock takes some folders that cannot be written to for locked ones
            Path(lock.lock_file).touch()
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _read(self) -> _Kept:
        """Return what is kept; nothing where the file is damaged or of another version."""
        try:
            seal, _, body = self.path.read_bytes().partition(b"\n")
        except OSError:
            return {}
        if seal != self._seal(body):
            return {}
        return {name: (tuple(stamp), answer) for name, (stamp, answer) in json.loads(body).items()}

    def _save(self) -> None:
        """Replace the file as a whole, so that no reader finds half of it."""
        if not self.kept:
            return
        body = json.dumps(self.kept).encode()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.path.parent, delete=False) as file:
                try:
                    file.write(self._seal(body) + b"\n" + body)
                    file.close()
                    os.replace(file.name, self.path)
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:  # it only saves time
            warnings.warn(
                f"Cannot write to {self.path.parent} ({error.strerror}): all files are read again "
                f"next time. Name another folder in {VARIABLE}.",
                stacklevel=2,
            )

    def _seal(self, body: bytes) -> bytes:
        head = f"{_FORMAT} {self.question.name} {self.question.version}\n".encode()
        return hashlib.sha256(head + body).hexdigest().encode()


def _stamps(names: Sequence[str]) -> list[_Stamp | None]:
    # several at a time, as a network answers slowly; many in each, as a disk answers at once
    blocks = [names[start : start + _BLOCK] for start in range(0, len(names), _BLOCK)]
    with ThreadPoolExecutor() as pool:
        return [stamp for each in pool.map(_block_stamps, blocks) for stamp in each]


def _block_stamps(names: Sequence[str]) -> list[_Stamp | None]:
    return [_stamp(name) for name in names]


def _stamp(name: str) -> _Stamp | None:
    try:
        status = os.stat(name)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _sha256s(paths: Sequence[Path]) -> list[str]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_sha256, paths))


def _sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file, "" where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


CONTENT_SHA256: Final = FileQuestion("sha256", "", _sha256s, lasting=bool)
"""Asks for the SHA-256 (hex) of files; "" is answered where one cannot be read."""
