"""Where the weights of a model come from, as it is stored and shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class WeightsKind(StrEnum):
    """Where weights come from; the values are how texts of them begin, but for files."""

    PRETRAINED = "pretrained"
    """Published under the name of the model, or beside it in a folder of transformers."""
    SHIPPED = "shipped with"
    """Those of the classifier of a data set."""
    RANDOM = "random weights"
    GIVEN = "given"
    """Those of a model that was made in Python."""
    FILE = "file"


@dataclass(frozen=True)
class WeightsOrigin:
    """Where weights come from; `name` is that of the file, or of the data set that ships them."""

    kind: WeightsKind
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the origin that a text stands for, as `str` writes it; it may be a file's path."""
        for kind in (WeightsKind.PRETRAINED, WeightsKind.RANDOM, WeightsKind.GIVEN):
            if text == kind:
                return cls(kind)
        before, shipped, name = text.partition(f"{WeightsKind.SHIPPED} ")
        if shipped and not before:
            return cls(WeightsKind.SHIPPED, name)
        return cls(WeightsKind.FILE, text.removeprefix("./"))

    def __str__(self) -> str:
        if self.kind is not WeightsKind.FILE:
            return f"{self.kind} {self.name}".rstrip()
        # a file may be called "given"
        is_plain = self.parse(self.name).kind is WeightsKind.FILE
        return self.name if is_plain else f"./{self.name}"
