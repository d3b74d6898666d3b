"""The interface of a data set of images or texts."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from torch import Tensor, nn

from ._file_answers import CONTENT_SHA256, ask
from .errors import KeeprateError


@dataclass(frozen=True)
class Sample:
    """One labelled image or text: `id` stays the same between runs, `label` is its class.

    A sample that is rightly of several classes has all of them, the lowest first, in a tuple.
    """

    id: str
    label: int | tuple[int, ...]


class DataSet(ABC):
    """Labelled images to compare token-reduction methods on.

    To offer one, subclass, set `name`, write a docstring whose first sentence describes it, and
    return the class from the hook `keeprate_datasets`. The constructor's typed arguments are the
    data set's parameters on the command line; keep each as an attribute of the same name. The
    constructor should be cheap: the first heavy work belongs in `samples`.
    """

    name: ClassVar[str]
    embedded: ClassVar[bool] = False
    """Whether images and classifier ship with the package: there is nothing to decode."""
    is_default: ClassVar[bool] = False
    """Whether it is the data set where the user names none; it then ships its own classifier."""
    variant: str = ""
    """What tells it from others of its name, in a few words for people, where parameters do."""

    @property
    def title(self) -> str:
        """The name with the variant, for people."""
        return f"{self.name} ({self.variant})" if self.variant else self.name

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """Return every sample, in an order that never changes. Called after `bind`."""

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """Return the decoded image of `samples()[index]`, (3, H, W) uint8 RGB, not transformed."""

    def seen(self, index: int, image: Tensor) -> Tensor:
        """Return what a model sees of `image`, (3, H, W) uint8, at the same size: all as it is.

        `image` is `image(index)`, resized and cut out for the model, and is not to be written to.
        Only scaling and normalisation follow. Override it to change images at the size at which
        they are seen, the same way each time, and give such images a fingerprint of their own.
        """
        return image

    @abstractmethod
    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        """Fit the labels to a model's head; called before any heavy work.

        `num_classes` is the size of the head, `label_names` the model's own names in the order of
        its outputs, if it has any. Raises KeeprateError if the labels do not fit.
        """

    def bad_samples(self) -> Mapping[str, str]:
        """Return the ids of unusable images, each with its problem."""
        return {}

    def notes(self) -> Sequence[str]:
        """Return what a reader of results should know of the samples, a line each: what was no
        sample, for one. They are shown and recorded, and do not count in a run's id.
        """
        return ()

    def classifier(self) -> nn.Module | None:
        """Return the trained classifier that ships with the data set, in eval mode, or None."""
        return None

    def calibration(self) -> DataSet | None:
        """Return samples of the same kind of which none is here, or None if there are none at hand.

        Budgets that have to be solved on images are solved on some of them, where the user names no
        others: those that the shipped classifier was trained on, for example. It should be cheap.
        """
        return None

    def content(self, index: int) -> Path | str | None:
        """Return what tells the content of `samples()[index]` apart; part of the fingerprint.

        The file that holds it alone (what is in the file counts, not its name), or a text that
        changes whenever the content does, as a hash. None: it is asked for and hashed each time.
        """
        return None

    def fingerprint(self) -> str:
        """Return the SHA-256 (hex) of sample ids, labels and contents, which identifies the data.

        Files are read the first time, and again when they change.
        """
        digest = hashlib.sha256()
        for sample, content in zip(self.samples(), self.contents(), strict=True):
            row = f"{sample.id}\0{sample.label}\0{content}\n"
            # file names may hold bytes that are not UTF-8, which Python keeps as surrogates
            digest.update(row.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def contents(self, indices: Sequence[int] | None = None) -> list[str]:
        """Return a text for every sample, or for those at `indices`, that identifies its content.

        It is the hash of the file where a file holds the sample.
        """
        indices = range(len(self.samples())) if indices is None else indices
        contents = [self.content(index) for index in indices]
        paths = [content for content in contents if isinstance(content, Path)]
        hashes = iter(ask(CONTENT_SHA256, paths))
        return [
            next(hashes) if isinstance(content, Path) else content or self._loaded_sha256(index)
            for index, content in zip(indices, contents, strict=True)
        ]

    def _loaded_sha256(self, index: int) -> str:
        image = self.image(index)
        start = f"{image.dtype} {tuple(image.shape)}\n".encode()
        return hashlib.sha256(start + image.contiguous().numpy().tobytes()).hexdigest()


class TextDataSet(DataSet):
    """Labelled texts to compare token-reduction methods on.

    Implement it as a `DataSet`, but with `text` instead of `image`. The model's own tokenizer turns
    the texts into tokens.
    """

    max_length: int | None = None
    """Longer texts are cut to this many tokens; None: as many as the model reads."""

    @abstractmethod
    def text(self, index: int) -> str:
        """Return the text of `samples()[index]`."""

    def image(self, index: int) -> Tensor:
        """Raise KeeprateError, because the data set has only texts."""
        raise KeeprateError(f"Data set '{self.name}' has texts, no images.")

    def _loaded_sha256(self, index: int) -> str:
        return hashlib.sha256(self.text(index).encode("utf-8", "surrogatepass")).hexdigest()
