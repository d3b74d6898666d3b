"""Prepare a data set's images or texts for a model, and describe the preparation for a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from ..backbone import Backbone
from ..backbones.loading.loaded import LoadedModel
from ..backbones.loading.model_input import ModelInput
from ..backbones.loading.stated_input import input_note
from ..dataset import DataSet, TextDataSet
from ..errors import KeeprateError
from .image_cache import DecodedCache
from .images import build_transform, resized_image
from .samples import ImageSamples, SeenImages, SizedImages
from .texts import TextInput, TextSamples


@dataclass(frozen=True)
class Preprocessed:
    """The samples of a comparison, with a description of how they are made (`transform`).

    `sizes` counts the samples of each size, on which stages and costs depend. `note` is a message
    for the user, if there is one.
    """

    samples: ImageSamples | TextSamples
    transform: Mapping[str, Any]
    sizes: Mapping[tuple[int, int], int]
    note: str | None = None

    def mean(self, number: Callable[[tuple[int, int]], float]) -> float:
        """Return the mean over all samples of a number that depends on their size."""
        return sum(number(size) * times for size, times in self.sizes.items()) / len(self.samples)


@dataclass(frozen=True)
class ImagePreparation:
    """Prepares images: resized, cut out and normalised as the model expects them."""

    data: DataSet
    given: ModelInput
    note: str | None = None
    """What a weights file tells against it."""

    def prepare(
        self,
        indices: Sequence[int],
        cache: Path | None = None,
        sizes: Collection[tuple[int, int]] = (),
    ) -> Preprocessed:
        """Return the samples at `indices`, whose decoded images are kept in the folder `cache`.

        `sizes` are all (height, width) in pixels that some run sees, by default the model's own.
        Raises KeeprateError for a folder that cannot be written to or is too small, before anything
        is decoded.
        """
        samples, note = self._samples(indices, cache, sizes)
        # the cache gives the same pixels, so the description, and a run's id, leave it out
        return Preprocessed(
            samples, asdict(self.given), {self.given.image_size: len(samples)}, note
        )

    def _samples(
        self, indices: Sequence[int], cache: Path | None, sizes: Collection[tuple[int, int]]
    ) -> tuple[ImageSamples, str | None]:
        own = self.given.image_size
        seen = [self._seen(size, indices, cache) for size in sorted({own, *sizes})]
        by_size = {size: images for size, images, _ in seen}
        notes = [note for _, _, note in seen if note is not None]
        resize = partial(resized_image, spec=self.given)
        load = SizedImages(own, by_size, tuple(by_size), resize)
        samples = ImageSamples(self.data, build_transform(self.given).finish, indices, load=load)
        # of one size alone they are tensors
        return samples.at(by_size), " ".join(dict.fromkeys(notes)) or None

    def _seen(
        self, size: tuple[int, int], indices: Sequence[int], cache: Path | None
    ) -> tuple[tuple[int, int], SeenImages, str | None]:
        """Return a size, what a model sees at it, and a note on where that is kept."""
        transform = build_transform(self.given, size)
        images = SeenImages(self.data, transform.crop)
        if cache is None:
            return size, images, None
        if self.data.embedded:
            note = f"The images of '{self.data.name}' are in memory: none are kept in {cache}."
            return size, images, note
        kept = DecodedCache.open(cache, self.data, self.given, transform.crop, indices, size)
        return size, replace(images, kept=kept), kept.note


@dataclass(frozen=True)
class TextPreparation:
    """Prepares texts: tokens by the model's own tokenizer."""

    data: TextDataSet
    given: TextInput
    note: None = None

    def prepare(
        self,
        indices: Sequence[int],
        cache: Path | None = None,
        sizes: Collection[tuple[int, int]] = (),
    ) -> Preprocessed:
        """Return the samples at `indices`, with all texts as tokens; only images use the rest."""
        samples = TextSamples(self.data, self.given, indices)
        transform = {
            "tokenizer": type(self.given.tokenizer).__name__,
            "max_length": self.given.max_length,
            "tokens_sha256": samples.sha256,
        }
        note = (
            f"{samples.truncated} of {len(samples)} texts are longer than "
            f"{self.given.max_length} tokens and were cut off there."
        )
        return Preprocessed(samples, transform, samples.sizes, note if samples.truncated else None)


def preparation(
    loaded: LoadedModel, backbone: Backbone, data: DataSet
) -> ImagePreparation | TextPreparation:
    """Return how the samples of `data` are prepared for a model.

    `backbone.image_size` is set to the size of the prepared images, or of the longest text that is
    allowed. Raises KeeprateError for texts where the model takes images and the other way round.
    """
    if isinstance(data, TextDataSet) and backbone.text_inputs:
        return _text_preparation(loaded, backbone, data)
    if isinstance(data, TextDataSet) or backbone.text_inputs:
        ours, theirs = ("texts", "images") if backbone.text_inputs else ("images", "texts")
        raise KeeprateError(
            f"Model '{loaded.name}' reads {ours}, and data set '{data.name}' has {theirs}."
        )
    used = replace(_image_input(loaded, backbone), **loaded.changes.given)
    return ImagePreparation(data, used, input_note(str(loaded.weights), loaded.stated, used))


def _image_input(loaded: LoadedModel, backbone: Backbone) -> ModelInput:
    """Return what a model expects of its images, and set `backbone.image_size` to it."""
    if _is_transformers(loaded.model):
        # imported late: only these models need huggingface_hub and transformers
        from ..backbones.loading.huggingface_processors import image_input

        expected = image_input(_folder_of(loaded))
        backbone.num_patches(expected.image_size)  # refuses a size that the model does not take
        backbone.image_size = expected.image_size
        return expected
    expected = ModelInput.of(loaded.model)
    if expected.image_size != backbone.image_size:  # it was created for another size
        expected = replace(expected, image_size=backbone.image_size)
    return expected


def _text_preparation(
    loaded: LoadedModel, backbone: Backbone, data: TextDataSet
) -> TextPreparation:
    from ..backbones.loading.huggingface_processors import tokenizer_of

    if given := loaded.changes.given:
        raise KeeprateError(f"Model '{loaded.name}' reads texts: leave out {' and '.join(given)}.")

    tokenizer, config = tokenizer_of(_folder_of(loaded)), cast(Any, loaded.model.config)
    if len(tokenizer) > config.vocab_size:
        raise KeeprateError(
            f"The tokenizer of '{loaded.name}' knows {len(tokenizer)} tokens, the model "
            f"{config.vocab_size}: they do not belong together."
        )
    # a tokenizer that knows no limit gives an enormous one
    most = min(backbone.image_size[1], tokenizer.model_max_length)
    length = most if data.max_length is None else data.max_length
    if not 2 <= length <= most:  # 2: the class token and one more
        raise KeeprateError(f"max_length {length} is not from 2 to {most}, what the model reads.")
    backbone.image_size = (1, length)
    return TextPreparation(data, TextInput(tokenizer, length, backbone.text_inputs))


def _folder_of(loaded: LoadedModel) -> Any:
    if loaded.folder is None:
        raise KeeprateError(
            f"Model '{loaded.name}' was not loaded by name, so how its inputs are prepared is not "
            "known: save it and name its folder, --model hf:FOLDER."
        )
    return loaded.folder


def _is_transformers(model: nn.Module) -> bool:
    return type(model).__module__.startswith("transformers.")
