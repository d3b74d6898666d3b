"""ImageNet-1k and its variations: folders named by WordNet id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from timm.data.imagenet_info import ImageNetInfo

from keeprate.errors import KeeprateError

from .folders import ClassFolders, did_you_mean


class ImageNet(ClassFolders):
    """ImageNet-1k, or any part of it: a folder of folders named by WordNet id (n01440764).

    Any of the 1000 classes may be missing (Imagenette, ImageNet-A, -R, -O, -Sketch); predictions
    are always among all 1000. Folders named 0 to 999, as in ImageNet-V2, are class indices; 1 to N
    are refused, as they may be numbers of the development kit. WordNet ids get their class indices
    from timm's table. Refused: models without exactly these 1000 classes, in this
    order where they name them, by WordNet id or in English.
    """

    name: ClassVar[str] = "imagenet"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._doubt = ""

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        info: Any = ImageNetInfo()
        wordnet_ids: list[str] = info.label_names()
        if num_classes != len(wordnet_ids):
            raise KeeprateError(
                f"Data set '{self.name}' needs a model with {len(wordnet_ids)} classes, this one "
                f"has {num_classes}. For other classes use the data set 'image-folder'."
            )
        named = label_names is not None and list(label_names) != wordnet_ids
        if named and not in_english(label_names or (), info.label_descriptions()):
            raise KeeprateError(
                f"The model names its 1000 classes, but not by the WordNet ids of '{self.name}' in "
                "their order. Use the data set 'image-folder' with labels=FILE."
            )
        self.assign(self._class_indices(wordnet_ids))

    def _class_indices(self, wordnet_ids: list[str]) -> dict[str, int]:
        folders = self.class_names(known=wordnet_ids)
        self._doubt = ""
        if all(folder.isascii() and folder.isdecimal() for folder in folders):
            return self._numbered(folders, len(wordnet_ids))
        for folder in folders:
            if folder not in wordnet_ids:
                raise self._refusal(folder, "not a WordNet id of ImageNet-1k", wordnet_ids)
        return {folder: wordnet_ids.index(folder) for folder in folders}

    def _numbered(self, folders: Sequence[str], num_classes: int) -> dict[str, int]:
        indices = {folder: int(folder) for folder in folders}
        for folder, index in indices.items():
            if index >= num_classes:
                raise self._refusal(folder, "outside the head: class indices are 0 to 999")
        if 0 not in indices.values():
            self._doubt = (
                f"No folder of '{self.root.name}' is named 0: the numbers are taken as class "
                "indices from 0, not as those of ImageNet's development kit, which go from 1."
            )
            if len(indices) > 1 and max(indices.values()) == len(indices):
                raise KeeprateError(
                    f"Folders 1 to {len(indices)} in '{self.root}' may be numbers of ImageNet's "
                    "development kit, which are no class indices. Name them by WordNet id, or, if "
                    "they are class indices from 0, add an empty folder 0."
                )
        return indices

    def notes(self) -> Sequence[str]:
        return [*super().notes(), *filter(None, [self._doubt])]

    def _refusal(self, folder: str, reason: str, wordnet_ids: Sequence[str] = ()) -> KeeprateError:
        inside = self.root / folder
        hint = did_you_mean(folder, wordnet_ids)
        if any((inside / wordnet_id).is_dir() for wordnet_id in wordnet_ids):
            hint = f" Did you mean the folder '{inside}'?"
        return KeeprateError(
            f"Class folder '{folder}' in '{self.root}' is {reason}.{hint} For classes of your own "
            "use the data set 'image-folder'."
        )


def in_english(names: Sequence[str], descriptions: Sequence[str]) -> bool:
    """Tell whether `names` are the classes' descriptions ("tench, Tinca tinca") in their order.

    Spelling differs between lists: 950 of 1000 must begin alike, which no other order comes near.
    """
    pairs = zip(names, descriptions, strict=True)
    alike = sum(a.split(",")[0].lower() == b.split(",")[0].lower() for a, b in pairs)
    return alike >= 0.95 * len(descriptions)
