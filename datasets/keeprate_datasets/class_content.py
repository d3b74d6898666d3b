"""What counts in a class folder: each image once; what is passed over, with the reason."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath

from keeprate.errors import KeeprateError, escaped

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff"}
)
SYSTEM_NAMES = frozenset(
    {
        *("__macosx", "__pycache__", "lost+found", "system volume information"),
        *("network trash folder", "temporary items", "found.000", "recycler", "$recycle.bin"),
        *("@eadir", "@tmp", "@__thumb", "@recycle", "@recently-snapshot"),
        *("#recycle", "#snapshot", "~snapshot"),
        *("thumbs.db", "desktop.ini"),
    }
)
"""Folders and files that systems and programs leave behind, in lower case."""

LOST = "link that leads nowhere"


@dataclass(frozen=True)
class Content:
    """What is in a class folder; names are those of samples, `<class folder>/<path in it>`.

    `images` are sorted; `escaped` has the paths of those whose names are not UTF-8. `passed_over`
    are (name, reason). `linked` identifies the files of those images that may have another name
    elsewhere: by their real path, or by device and number.
    """

    images: Sequence[str]
    escaped: Mapping[str, Path]
    passed_over: Sequence[tuple[str, str]]
    linked: Mapping[str, str]


def read_class(root: Path, folder: Path) -> Content:
    """Find what is in a class folder of `root`; KeeprateError for a folder that is not readable.

    Links are followed, but not to a folder that the link itself lies in. A file that has several
    names counts once, under the first that is reached without a link.
    """
    return _Walk(root, folder).content()


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, sorted by name; KeeprateError where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise KeeprateError(f"Cannot read the folder '{folder}': {error.strerror}.") from error


def is_left_behind(name: str) -> bool:
    """Tell whether a name is hidden, or of what systems and programs leave in people's folders."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder or a link to one, also where links run in a circle."""
    return entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path))


def is_lost_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a link that leads nowhere, and named as folders are."""
    return not (PurePath(entry.name).suffix or os.path.exists(entry.path))


def why_no_image(entry: os.DirEntry[str]) -> str | None:
    """Say why an entry that is no folder is passed over; None for an image, readable or not."""
    if entry.is_symlink() and not os.path.exists(entry.path):
        # with an image's ending it is a sample that cannot be read
        return None if _has_image_ending(entry.name) else LOST
    if not _has_image_ending(entry.name):
        suffix = escaped(PurePath(entry.name).suffix.lower())
        return f"ending in {suffix}" if suffix else "without an ending"
    if not stat.S_ISREG(entry.stat().st_mode):
        return "neither a file nor a folder"  # reading from a pipe could wait for ever
    return None


def _has_image_ending(name: str) -> bool:
    return PurePath(name).suffix.lower() in EXTENSIONS


@dataclass(frozen=True)
class _Folder:
    """A folder on the way: `real` are its real path, last, and those of all that it lies in."""

    path: Path
    real: tuple[str, ...]
    is_linked: bool


@dataclass(frozen=True, order=True)
class _Image:
    """An image that was met; the order says which of several names of one file counts."""

    is_linked: bool
    name: str
    path: Path
    identity: str
    may_be_elsewhere: bool


class _Walk:
    """A walk through a class folder, in which every real folder is entered once."""

    def __init__(self, root: Path, folder: Path) -> None:
        real_root, real = os.path.realpath(root), os.path.realpath(folder)
        self._root = root
        self._passed_over: list[tuple[str, str]] = []
        self._met: list[_Image] = []
        self._entered: set[str] = set()
        is_linked = real != os.path.join(real_root, folder.name)
        self._waiting = deque([_Folder(folder, (real_root, real), is_linked)])
        if not folder.exists():
            self._waiting.clear()
            self._pass_over(folder, LOST)

    def content(self) -> Content:
        while self._waiting:
            folder = self._waiting.popleft()
            if folder.real[-1] in self._entered:
                self._pass_over(folder.path, "folder that the class has already")
                continue
            self._entered.add(folder.real[-1])
            for entry in entries(folder.path):
                self._meet(entry, folder)
        images: dict[str, _Image] = {}
        for image in sorted(self._met):
            first = images.setdefault(image.identity, image)
            if first is not image:
                self._passed_over.append((image.name, "file that the class has already"))
        counted = sorted(images.values(), key=lambda image: image.name)
        return Content(
            [image.name for image in counted],
            {image.name: image.path for image in counted if "\\" in image.name},
            sorted(self._passed_over),
            {image.name: image.identity for image in counted if image.may_be_elsewhere},
        )

    def _meet(self, entry: os.DirEntry[str], folder: _Folder) -> None:
        if is_left_behind(entry.name):
            if is_folder(entry) or _has_image_ending(entry.name):
                self._pass_over(entry, "hidden, or left by a system")
        elif is_folder(entry):
            self._enter(entry, folder)
        elif reason := why_no_image(entry):
            self._pass_over(entry, reason)
        else:
            self._met.append(self._image(entry, folder))

    def _enter(self, entry: os.DirEntry[str], folder: _Folder) -> None:
        real = os.path.realpath(entry.path)
        if any(Path(outer).is_relative_to(real) for outer in folder.real):
            self._pass_over(entry, "link in a circle")
        else:
            is_linked = folder.is_linked or entry.is_symlink()
            inner = _Folder(Path(entry.path), (*folder.real, real), is_linked)
            # links last, so that what they lead to keeps the name that it has without them
            (self._waiting.append if is_linked else self._waiting.appendleft)(inner)

    def _image(self, entry: os.DirEntry[str], folder: _Folder) -> _Image:
        is_linked = folder.is_linked or entry.is_symlink()
        identity, names = os.path.join(folder.real[-1], entry.name), 1
        with suppress(OSError):  # what is not there has no other name, and its check says the rest
            status = entry.stat()
            names = status.st_nlink
            if names > 1:
                identity = f"{status.st_dev}:{status.st_ino}"
            elif entry.is_symlink():
                identity = os.path.realpath(entry.path)
        path, may_be_elsewhere = Path(entry.path), is_linked or names > 1
        return _Image(is_linked, self._name(entry), path, identity, may_be_elsewhere)

    def _pass_over(self, path: os.PathLike[str], reason: str) -> None:
        self._passed_over.append((self._name(path), reason))

    def _name(self, path: os.PathLike[str]) -> str:
        return escaped(Path(path).relative_to(self._root).as_posix())
