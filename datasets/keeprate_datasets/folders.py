"""What data sets made of class folders share: finding, checking and decoding their images."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from keeprate.data.image_problems import image_problems
from keeprate.data.images import decode
from keeprate.dataset import DataSet, Sample
from keeprate.errors import KeeprateError

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".ppm", ".tif", ".tiff"}
)


class ClassFolders(DataSet):
    """Images in folders, one folder for each class; a subclass says what the folders mean.

    A subclass's `bind` calls `assign` with the class index of every folder. Sample ids are paths
    relative to the root, with "/". Images may lie deeper inside a class folder. Names that begin
    with a dot are ignored, as are files without an image's extension.
    """

    root: Path
    _labels: Mapping[str, int] | None = None
    _samples: tuple[Sample, ...] | None = None

    def assign(self, labels: Mapping[str, int]) -> None:
        """Give every class folder its class index: `samples` then has what it needs."""
        self._labels = dict(labels)
        self._samples = None

    def samples(self) -> Sequence[Sample]:
        if self._labels is None:
            raise RuntimeError("bind() comes before samples(): it is what gives the labels")
        if self._samples is None:
            self._samples = find_samples(self.root, self._labels)
        return self._samples

    def image(self, index: int) -> Tensor:
        return decode(self._path(index))

    def bad_samples(self) -> Mapping[str, str]:
        problems = image_problems([self._path(index) for index in range(len(self.samples()))])
        pairs = zip(self.samples(), problems, strict=True)
        return {sample.id: problem for sample, problem in pairs if problem is not None}

    def content(self, index: int) -> Path:
        return self._path(index)

    def _path(self, index: int) -> Path:
        return self.root / self.samples()[index].id


def find_samples(root: Path, labels: Mapping[str, int]) -> tuple[Sample, ...]:
    """Every image in the class folders that `labels` names; KeeprateError where there is none."""
    samples = tuple(
        Sample(f"{folder}/{name}", label)
        for folder, label in sorted(labels.items())
        for name in image_names(root / folder)
    )
    if not samples:
        extensions = ", ".join(sorted(EXTENSIONS))
        raise KeeprateError(f"No images in the class folders of '{root}' ({extensions}).")
    return samples


def class_folders(root: Path) -> tuple[str, ...]:
    """Names of the folders directly in `root`, sorted; KeeprateError where there are none."""
    if not root.exists():
        raise KeeprateError(f"No folder '{root}'. Give the folder that holds the class folders.")
    if not root.is_dir():
        raise KeeprateError(f"'{root}' is a file. Give the folder that holds the class folders.")
    try:
        entries = [entry for entry in os.scandir(root) if not entry.name.startswith(".")]
    except OSError as error:
        raise KeeprateError(f"Cannot read the folder '{root}': {error.strerror}.") from error
    if not entries:
        raise KeeprateError(f"The folder '{root}' is empty. Expected one folder for each class.")
    folders = tuple(sorted(entry.name for entry in entries if entry.is_dir()))
    if not folders:
        raise KeeprateError(f"No class folders in '{root}'. Expected one folder for each class.")
    return folders


def image_names(folder: Path) -> list[str]:
    """Paths of the images anywhere in `folder`, relative to it, with "/", sorted."""
    return sorted(
        Path(parent, name).relative_to(folder).as_posix()
        for parent, _, names in os.walk(folder, followlinks=True)
        for name in names
        if not name.startswith(".") and Path(name).suffix.lower() in EXTENSIONS
    )


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return " Did you mean 'cat'?" for a known name that differs by a slip, else nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f" Did you mean '{close[0]}'?" if close else ""
