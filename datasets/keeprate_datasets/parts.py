"""Notice a folder that holds parts of a data set (train, val), and not its class folders."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from pathlib import Path

from keeprate.errors import KeeprateError

from .class_content import read_class

PART = re.compile(
    r"(\d+[\W_]*)?"
    r"((mini)?train(ing)?([\W_]?val)?|trn?|(mini)?va(l(id(ation)?)?)?|te(st(ing)?)?|tst|dev|"
    r"eval(uation)?|hold[\W_]?out|k?[\W_]?folds?|splits?|part(ition)?|(sub)?set|cv|"
    r"(un)?seen|query|gallery|(un)?label(l)?ed)"
    r"([\W_]*(set|data|images?|imgs?|photos?|split|fold|small|large|full))*"
    r"[\W_]*((\d+([\W_]\d+)*)?|[a-e])\W*",
    re.IGNORECASE,
)
"""What parts are called: train, Validation, test_set, val2017, fold-03, 1_fold."""


def refuse_parts(root: Path, folders: Mapping[str, Path], known: Collection[str]) -> None:
    """Raise KeeprateError where the folders in `root` are parts that hold the class folders.

    A class may be called train or test, so names alone are not enough. Of a part, most images lie
    in folders of its own; and either two parts have such a folder in common, or there is nothing
    but parts. Names in `known` are classes.
    """
    start = _common_start(list(folders))
    inner = {
        name: _folders_of_images(root, path)
        for name, path in folders.items()
        if name not in known and (PART.fullmatch(name) or PART.fullmatch(name[start:]))
    }
    parts = {name: classes for name, classes in inner.items() if classes}
    if not parts:
        return
    in_common = sum(map(len, parts.values())) > len(set().union(*parts.values()))
    others = (path for name, path in folders.items() if name not in parts)
    if in_common or not any(read_class(root, path).images for path in others):
        # the part that accuracy is usually wanted of
        lower = {name: name[start:].lower() for name in parts}
        best = min(parts, key=lambda name: (lower[name][:3] != "val", lower[name][:4] != "test"))
        listed = ", ".join(f"'{name}'" for name in parts)
        raise KeeprateError(
            f"'{root}' holds parts of a data set ({listed}), each with class folders, and no "
            f"classes. Did you mean the folder '{root / best}'? If these are classes, use the data "
            "set 'image-folder' and name them in a file: labels=FILE."
        )


def _common_start(names: Sequence[str]) -> int:
    """Length of the words that all names begin with, as "imagenet-" of imagenet-train and -val."""
    pairs = zip(min(names), max(names), strict=False)
    common = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return max((place for place, mark in enumerate(common, 1) if mark in "-_. "), default=0)


def _folders_of_images(root: Path, folder: Path) -> set[str]:
    """Names of the folders directly in `folder`, if most of its images lie in them, else none."""
    places = [name.split("/")[1:] for name in read_class(root, folder).images]
    deeper = [place[0] for place in places if len(place) > 1]
    return set(deeper) if 2 * len(deeper) > len(places) else set()
