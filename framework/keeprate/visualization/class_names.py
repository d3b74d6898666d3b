"""The names of a model's classes, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from timm.data.imagenet_info import ImageNetInfo

from ..backbones.loading.loaded import LoadedModel, classes_of


def class_names(loaded: LoadedModel) -> list[str]:
    """Return a name for each class a model tells apart, in the order of its outputs.

    These are the model's own names. A model with 1000 classes that has WordNet ids or no names
    gets the names of ImageNet-1k; any other model without names gets "class 0" and so on. Of
    synonyms ("tench, Tinca tinca") the first is taken.
    Raises KeeprateError as `classes_of` does.
    """
    class_count, label_names = classes_of(loaded)
    # of ImageNet-1k's sorted WordNet ids the first is n01440764, which tells people nothing
    if class_count == 1000 and (label_names is None or label_names[0].startswith("n0")):
        info: Any = ImageNetInfo()
        label_names = info.label_descriptions()
    return _first_words(label_names or [f"class {index}" for index in range(class_count)])


def _first_words(names: Sequence[str]) -> list[str]:
    return [str(name).split(",")[0] for name in names]
