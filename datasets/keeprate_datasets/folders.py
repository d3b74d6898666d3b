"""What data sets made of class folders share: finding, checking and decoding their images."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from keeprate.data.image_problems import image_problems
from keeprate.data.images import decode
from keeprate.dataset import DataSet, Sample
from keeprate.errors import KeeprateError

from .found_images import FoundImages, Root, find_images, passed_over_note, read_root
from .parts import refuse_parts


class ClassFolders(DataSet):
    """Images in folders, one folder for each class; a subclass says what the folders mean.

    A subclass's `bind` asks `class_names` for the folders, and calls `assign` with the class index
    of each. Sample ids are paths relative to the root, with "/". Images may lie deeper inside a
    class folder. Hidden names, what systems leave behind, and files without an image's ending are
    passed over; `notes` tells which.
    """

    root: Path
    _top: Root | None = None
    _labels: Mapping[str, int] | None = None
    _found: FoundImages | None = None

    @property
    def passed_over(self) -> str:
        """What lies beside the class folders and is none, in a sentence; "" if nothing does."""
        return "" if self._top is None else passed_over_note(self._top.passed_over)

    def class_names(self, known: Collection[str] = ()) -> tuple[str, ...]:
        """Names of the class folders, sorted; those in `known` are classes for sure.

        Raises KeeprateError where there are none, or parts of a data set instead.
        """
        self._top = read_root(self.root)
        refuse_parts(self.root, self._top.folders, known)
        return tuple(self._top.folders)

    def assign(self, labels: Mapping[str, int]) -> None:
        """Give every class folder its class index: `samples` then has what it needs."""
        self._labels = dict(labels)
        self._found = None

    def samples(self) -> Sequence[Sample]:
        return self._images().samples

    def image(self, index: int) -> Tensor:
        return decode(self._path(index))

    def bad_samples(self) -> Mapping[str, str]:
        problems = image_problems([self._path(index) for index in range(len(self.samples()))])
        pairs = zip(self.samples(), problems, strict=True)
        return {sample.id: problem for sample, problem in pairs if problem is not None}

    def notes(self) -> Sequence[str]:
        return self._images().notes

    def require_images(self) -> None:
        """Raise KeeprateError for a class folder without an image that can be read."""
        bad = self.bad_samples()
        problems: dict[str, str | None] = dict.fromkeys(self._labels or (), "it holds none")
        for sample in self.samples():
            folder, _, name = sample.id.partition("/")
            if problems[folder] is not None:
                problem = bad.get(sample.id)
                problems[folder] = f"{name}: {problem}" if problem else None
        for folder, problem in problems.items():
            if problem is not None:
                raise KeeprateError(
                    f"Class folder '{folder}' in '{self.root}' has no image that can be read "
                    f"({problem}): it may stand in for a class that is missing. Take it away, or "
                    "list the classes in the order of the model's outputs in a file: labels=FILE."
                )

    def _images(self) -> FoundImages:
        if self._labels is None or self._top is None:
            raise RuntimeError("bind() comes before samples(): it is what gives the labels")
        if self._found is None:
            self._found = find_images(self.root, self._top, self._labels)
        return self._found

    def content(self, index: int) -> Path:
        return self._path(index)

    def _path(self, index: int) -> Path:
        name = self.samples()[index].id
        return self._images().escaped.get(name) or self.root / name


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """Return " Did you mean 'cat'?" for a known name that differs by a slip, else nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    return f" Did you mean '{close[0]}'?" if close else ""
