"""Data sets: what the comparison asks of them, and the bridge to PyTorch's data loader."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from .errors import KeeprateError


@dataclass(frozen=True)
class Sample:
    """One labelled image or text: `id` stays the same between runs, `label` is the class index."""

    id: str
    label: int


class DataSet(ABC):
    """Labelled images to compare token-reduction methods on.

    To offer one, subclass, set `name`, write a docstring whose first sentence describes it, and
    return the class from the hook `keeprate_datasets`. The constructor's typed arguments are the
    data set's parameters on the command line; keep each as an attribute of the same name. The
    constructor should be cheap: the first heavy work belongs in `samples`.
    """

    name: ClassVar[str]
    embedded: ClassVar[bool] = False
    """Whether images and classifier ship with the package, so that nothing need be named."""

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """Every sample, in an order that never changes. Called after `bind`."""

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """The decoded image of `samples()[index]`: (3, H, W) uint8 RGB, before any transform."""

    @abstractmethod
    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        """Fit the labels to a model's head, before anything heavy is done.

        `num_classes` is the size of the head, `label_names` the model's own names in the order of
        its outputs, if it has any. Raises KeeprateError where the labels do not fit.
        """

    def bad_samples(self) -> Mapping[str, str]:
        """Ids of images that cannot be used, and what is wrong with each, by a quick check."""
        return {}

    def classifier(self) -> nn.Module | None:
        """The trained classifier that ships with the data set, in eval mode, if there is one."""
        return None

    def stored_bytes(self, index: int) -> int:
        """Size in bytes of the stored image, 0 where unknown; part of the fingerprint."""
        return 0

    def fingerprint(self) -> str:
        """SHA-256 (hex) of sample ids, labels and stored sizes: tells two data sets apart."""
        digest = hashlib.sha256()
        for index, sample in enumerate(self.samples()):
            row = f"{sample.id}\0{sample.label}\0{self.stored_bytes(index)}\n"
            digest.update(row.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


class TextDataSet(DataSet):
    """Labelled texts to compare token-reduction methods on.

    As for images, with `text` in place of `image`. The model's own tokenizer makes tokens of them.
    """

    max_length: int | None = None
    """Tokens that a longer text is cut off to; None: as many as the model reads."""

    @abstractmethod
    def text(self, index: int) -> str:
        """The text of `samples()[index]`."""

    def image(self, index: int) -> Tensor:
        """Raises KeeprateError: there are texts only."""
        raise KeeprateError(f"Data set '{self.name}' has texts, no images.")
