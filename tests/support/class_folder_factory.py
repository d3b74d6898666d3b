"""Folders of class folders with small images, and what a data set makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from keeprate.errors import KeeprateError
from keeprate_datasets.folders import ClassFolders


def make(root: Path, *names: str) -> Path:
    """A small image at each of the given paths; a name that ends with "/" is an empty folder."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            Image.new("RGB", (4 + number, 3), (number, 0, 0)).save(path, "PNG")
    return root


def labels(data: ClassFolders) -> dict[str, int]:
    return {sample.id: sample.label for sample in data.samples()}


def refusal(data: ClassFolders, classes: int, names: list[str] | None = None) -> str:
    def bound() -> object:
        data.bind(classes, names)
        return data.samples()

    with pytest.raises(KeeprateError) as raised:
        bound()
    assert "\n" not in str(raised.value)
    return str(raised.value)
