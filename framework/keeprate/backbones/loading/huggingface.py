"""Load a classifier of Hugging Face's transformers, from a folder or a page of the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from torch import nn

from ...errors import KeeprateError
from ...request import PREFIX
from ...results.weights_origin import WeightsKind, WeightsOrigin
from .checkpoints import read_safetensors
from .huggingface_processors import import_transformers, quietly
from .loaded import LoadedModel, weights_sha256
from .reasons import first_line, hub_problem
from .weight_types import check_types

CONFIG = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
TOKENIZER = ("tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "*.model")


@dataclass(frozen=True)
class Checkpoint:
    """A folder of files as `save_pretrained` writes them; `name` is its name in reports.

    `config` is transformers' configuration, `cls` the class of classifier that it names.
    """

    name: str
    folder: Path
    config: Any
    cls: Any

    @classmethod
    def find(cls, name: str, files: Sequence[str]) -> Checkpoint:
        """Find what `hf:NAME` means: a folder, or a page of the hub whose `files` are then fetched.

        Raises KeeprateError where neither exists and for models that are no classifiers.
        """
        transformers = import_transformers()
        location = name.removeprefix(PREFIX)
        folder = Path(os.path.expanduser(location))
        if folder.is_dir():  # a folder comes first: a page may have the same name
            name = PREFIX + folder.resolve().name  # reports do not say where folders lie
        else:
            folder = _fetch(name, location, files)
        with quietly():
            config = _read_config(transformers, name, folder)
        return cls(name, folder, config, _classifier_class(transformers, name, config))

    def without_weights(self) -> nn.Module:
        """Build the model's shapes alone, on the meta device."""
        with torch.device("meta"):
            return self.with_random_weights()

    def with_random_weights(self) -> nn.Module:
        """Build the model that its configuration describes, with newly drawn weights."""
        with quietly():
            model: nn.Module = self.cls(self.config)
        return model

    def with_weights(self) -> nn.Module:
        """Load the model in float32; KeeprateError unless every weight is there and fits."""
        for path in sorted(self.folder.glob("model*.safetensors")):
            check_types(path, read_safetensors(path), self.without_weights())
        try:
            with quietly():
                model, loading_info = self.cls.from_pretrained(
                    self.folder,
                    config=self.config,
                    dtype=torch.float32,
                    use_safetensors=True,  # other formats may hold code
                    local_files_only=True,
                    output_loading_info=True,
                )
        except Exception as error:  # whatever safetensors or transformers raises
            raise KeeprateError(
                f"Cannot load the weights of '{self.name}' (model.safetensors in "
                f"'{self.folder}'): {first_line(error)}."
            ) from error
        missing = sorted(loading_info["missing_keys"])
        if missing:  # transformers only warns, and draws these weights at random
            few = ", ".join(missing[:3] + ["..."] * (len(missing) > 3))
            raise KeeprateError(
                f"The weights of '{self.name}' lack {len(missing)} of a {self.cls.__name__}: {few}."
            )
        classifier: nn.Module = model
        return classifier


def load_huggingface(name: str, *, pretrained: bool = True) -> LoadedModel:
    """Load `hf:FOLDER` or `hf:NAME`, a page of the hub, with its weights or with random ones.

    Weights are read only from safetensors files. Raises KeeprateError, in one line, for anything
    that is missing or does not fit.
    """
    checkpoint = Checkpoint.find(name, [*CONFIG, *TOKENIZER, *(WEIGHTS if pretrained else ())])
    model = checkpoint.with_weights() if pretrained else checkpoint.with_random_weights()
    origin = WeightsOrigin(WeightsKind.PRETRAINED if pretrained else WeightsKind.RANDOM)
    sha256 = weights_sha256(model)
    return LoadedModel(model.eval(), checkpoint.name, origin, sha256, checkpoint.folder)


def outline_huggingface(name: str) -> LoadedModel:
    """Build the shapes of what `load_huggingface` would load, on the meta device.

    Raises the same KeeprateErrors, also for a folder without weights.
    """
    checkpoint = Checkpoint.find(name, [*CONFIG, *TOKENIZER])
    # of a page of the hub the weights are not fetched here, so only a folder can be checked
    is_local = os.path.isdir(os.path.expanduser(name.removeprefix(PREFIX)))
    if is_local and not any(any(checkpoint.folder.glob(pattern)) for pattern in WEIGHTS):
        raise KeeprateError(f"'{checkpoint.folder}' holds no {WEIGHTS[0]}, its weights.")
    model = checkpoint.without_weights().eval()
    origin = WeightsOrigin(WeightsKind.PRETRAINED)
    return LoadedModel(model, checkpoint.name, origin, "", checkpoint.folder)


def shapes_of(name: str, size: tuple[int, int] | None) -> tuple[nn.Module, tuple[int, int] | None]:
    """Build `hf:FOLDER` or `hf:NAME` without weights, and return the size of its inputs.

    `size` is in pixels, or (anything, tokens) for texts, and is returned as it is for images.
    Where it is None, the folder's own image size is returned, None if it has none.
    """
    from .huggingface_processors import PREPROCESSOR, image_input

    checkpoint = Checkpoint.find(name, CONFIG)
    model = checkpoint.without_weights()
    if "ForSequence" in checkpoint.cls.__name__:
        return model, None if size is None else (1, size[1])
    if size is None and (checkpoint.folder / PREPROCESSOR).is_file():
        return model, image_input(checkpoint.folder).image_size
    return model, size


def _fetch(name: str, location: str, files: Sequence[str]) -> Path:
    """Return the folder of a hub page's files; they are fetched if the hub can be reached."""
    repository, _, revision = location.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", repository):
        raise KeeprateError(
            f"No folder '{location}'. Write {PREFIX}FOLDER, or {PREFIX}NAME of a page."
        )
    problem = hub_problem()
    try:
        folder = huggingface_hub.snapshot_download(
            repository,
            revision=revision or None,
            allow_patterns=list(files),
            ignore_patterns=["*/*"],  # subfolders hold the weights for other programs
            local_files_only=problem is not None,
        )
    except Exception as error:  # whatever the hub's client or its transport raises
        raise KeeprateError(
            f"Cannot get the model '{name}': {problem or first_line(error)}, and no folder of this "
            f"name is here. Give a folder that holds it: {PREFIX}FOLDER."
        ) from error
    return Path(folder)


def _read_config(transformers: Any, name: str, folder: Path) -> Any:
    """Return the configuration in a folder; KeeprateError where it has none that can be read."""
    if not (folder / "config.json").is_file():
        raise KeeprateError(
            f"'{folder}' holds no config.json: it is no folder that save_pretrained wrote."
        )
    try:
        return transformers.AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # damaged files make transformers raise nearly anything
        raise KeeprateError(
            f"Cannot read the configuration of '{name}': {first_line(error)}."
        ) from error


def _classifier_class(transformers: Any, name: str, config: Any) -> Any:
    """Return the class that a configuration names; KeeprateError unless it is a classifier's."""
    cls_name = next(iter(config.architectures or ()), "model of no class")
    cls = getattr(transformers, cls_name, None)
    if cls is None or not re.search(r"For(Image|Sequence)Classification", cls_name):
        raise KeeprateError(
            f"'{name}' is a {cls_name}. What can be loaded are classifiers of images "
            "(...ForImageClassification) and of texts (...ForSequenceClassification)."
        )
    return cls
