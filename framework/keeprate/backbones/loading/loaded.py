"""A loaded model: where its weights come from, their hash, and the classes it tells apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ...errors import KeeprateError
from ...request import InputChanges
from ...results.weights_origin import WeightsKind, WeightsOrigin
from .label_names import in_order, label_names_of
from .stated_input import StatedInput


@dataclass(frozen=True)
class LoadedModel:
    """A model in eval mode and where its weights come from.

    `weights_sha256` is what the function of that name returns. `folder` holds the files of a
    transformers model, which also say how its inputs are prepared. `adapted` says what was changed
    to fit the image size asked for, `changes` are made to how inputs are prepared; `stated` is
    what the file of the weights tells of that.
    """

    model: nn.Module
    name: str
    weights: WeightsOrigin
    weights_sha256: str
    folder: Path | None = None
    adapted: tuple[str, ...] = ()
    changes: InputChanges = field(default_factory=InputChanges)
    stated: tuple[StatedInput, ...] = ()


def shipped(model: nn.Module, data: str, weights_sha256: str = "") -> LoadedModel:
    """Return the classifier of the data set of this name, with its own weights."""
    origin = WeightsOrigin(WeightsKind.SHIPPED, data)
    return LoadedModel(model, f"{data} classifier", origin, weights_sha256)


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 (hex) of a model's weights: names, types, shapes and bytes, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # as bytes, since numpy has no bfloat16
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def config_of(model: nn.Module) -> dict[str, Any]:
    """Return timm's description of a model: input size, mean, number of classes, class names."""
    return cast(dict[str, Any], getattr(model, "pretrained_cfg", {}))


def classes_of(loaded: LoadedModel) -> tuple[int, Sequence[str] | None]:
    """Return how many classes a model tells apart and, if it knows them, their names.

    Raises KeeprateError for names that are not one for each class, and for a transformers model
    that does not choose one class of several.
    """
    config: Any = getattr(loaded.model, "config", None)
    if not hasattr(config, "id2label"):
        num_classes = int(getattr(loaded.model, "num_classes", 0))
        return num_classes, label_names_of(config_of(loaded.model), num_classes)
    problem = getattr(config, "problem_type", None) or "single_label_classification"
    if problem != "single_label_classification" or config.num_labels < 2:
        # transformers reads one label as a number to predict
        task = problem.replace("_", " ") if config.num_labels > 1 else "regression"
        raise KeeprateError(
            f"Model '{loaded.name}' is for {task}: there is no one right class to compare."
        )
    names = in_order(config.id2label)
    if names is None:
        raise KeeprateError(f"Model '{loaded.name}': id2label must name every class, from 0 on.")
    # the names that transformers makes up where a configuration has none
    unnamed = names == [f"LABEL_{index}" for index in range(config.num_labels)]
    return config.num_labels, None if unnamed else names
