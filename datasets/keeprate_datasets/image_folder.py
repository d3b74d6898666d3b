"""Any folder of class folders, in the label order of the model that is evaluated."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from keeprate.data.text_files import read_text
from keeprate.errors import KeeprateError

from .folders import ClassFolders, did_you_mean


class ImageFolder(ClassFolders):
    """A folder with one folder of images for each class, for a model trained on those classes.

    Which class index a folder stands for is settled, in this order, by
    1. the file `labels`: one class name per line, in the order of the model's outputs;
    2. the model's own label names (timm's `label_names`, or `labels` in older configurations);
    3. the sorted folder names, if there are as many folders as the model has classes and if every
       common way of sorting them (torchvision's, timm's) gives the same order.
    By 1 and 2 any part of the classes may be present, and a folder with the name of several classes
    (ImageNet has two of "crane") needs 1; by 3 every folder must have an image that can be read.
    Anything else is refused: a wrong label order would give wrong numbers without a sign.
    """

    name: ClassVar[str] = "image-folder"

    def __init__(self, root: Path, labels: Path | None = None) -> None:
        self.root = root
        self.labels = labels

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        if self.labels is not None:
            names = read_labels(self.labels, num_classes)
            self.assign(by_name(self.class_names(names), names, f"a line of '{self.labels}'"))
        elif label_names is not None:
            folders = self.class_names(label_names)
            self.assign(by_name(folders, label_names, "a label name of the model"))
        else:
            folders = self.class_names()
            self.assign(by_order(folders, num_classes, self.passed_over))
            # an empty folder, or one that is no class, would take the place of a class
            self.require_images()


def read_labels(path: Path, num_classes: int) -> list[str]:
    """The class names in a text file, one per line; KeeprateError unless one for each class.

    Blank lines, and blanks around names, do not count.
    """
    lines = io.StringIO(read_text(path), newline=None)
    names = [line.strip() for line in lines if line.strip()]
    if len(names) != num_classes:
        raise KeeprateError(
            f"The labels file '{path}' has {len(names)} lines, the model {num_classes} classes. "
            "Write one class name per line, in the order of the model's outputs."
        )
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise KeeprateError(
            f"The labels file '{path}' names '{repeated}' more than once. Give each class a name "
            "of its own: that of its folder, any other where it has none."
        )
    return names


def by_name(folders: Sequence[str], names: Sequence[str], meaning: str) -> dict[str, int]:
    """Class index of every folder by the position of its name.

    Raises KeeprateError for a folder whose name is unknown, or that of several classes.
    """
    for folder in folders:
        if names.count(folder) > 1:
            indices = [str(index) for index, name in enumerate(names) if name == folder]
            raise KeeprateError(
                f"Class folder '{folder}' is ambiguous: classes {', '.join(indices)} of the model "
                "have this name. List a folder name for each class, in the order of the model's "
                "outputs, in a file: labels=FILE."
            )
        if folder not in names:
            raise KeeprateError(
                f"Class folder '{folder}' is not {meaning}.{did_you_mean(folder, names)} List the "
                "folder names in the order of the model's outputs in a file: labels=FILE."
            )
    return {folder: list(names).index(folder) for folder in folders}


def by_order(folders: Sequence[str], num_classes: int, passed_over: str = "") -> dict[str, int]:
    """Class index of every folder by sorting; KeeprateError where that is not certain.

    `passed_over` says what beside the folders was not taken for a class.
    """
    remedy = "List the classes in the order of the model's outputs in a file: labels=FILE."
    if len(folders) != num_classes:
        raise KeeprateError(
            f"{len(folders)} class folders, but the model has {num_classes} classes. {remedy} "
            f"{passed_over}".rstrip()
        )
    plain, natural = sorted(folders), sorted(folders, key=natural_key)
    if plain != natural:
        first, second = next(pair for pair in zip(plain, natural, strict=True) if len({*pair}) > 1)
        raise KeeprateError(
            f"The order of the class folders is not certain: '{first}' comes before '{second}' for "
            f"torchvision, after it for timm. {remedy}"
        )
    return {folder: index for index, folder in enumerate(plain)}


def natural_key(name: str) -> list[str | int]:
    """Sort key of timm's image folders: case is ignored, runs of digits count as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name.lower())]
