"""The names of a model's classes, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from ..backbones.loading.loaded import LoadedModel, classes_of


def class_names(loaded: LoadedModel) -> list[str]:
    """Return a name for each class a model tells apart, in the order of its outputs.

    Its own names; those of ImageNet-1k where it names WordNet ids, or nothing, and has 1000
    classes; else "class 0" and so on. Of synonyms ("tench, Tinca tinca") the first is taken.
    Raises KeeprateError as `classes_of` does.
    """
    number, names = classes_of(loaded)
    if number == 1000 and (names is None or names[0].startswith("n0")):
        info: Any = ImageNetInfo()
        names = info.label_descriptions()
    return _first_words(names or [f"class {index}" for index in range(number)])


def _first_words(names: Sequence[str]) -> list[str]:
    return [str(name).split(",")[0] for name in names]
