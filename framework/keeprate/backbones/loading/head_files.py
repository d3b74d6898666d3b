"""Heads in files of their own: linear classifiers of features, and features of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ...errors import KeeprateError
from ..heads import JoinedHead, ZeroShotHead, linear_of
from .checkpoints import read_weights
from .reasons import first_line

HEAD_ARGUMENTS: Final[Mapping[str, Any]] = {"head": Path, "text_features": Path}
"""Arguments of keeprate's own, besides those of a model."""


@dataclass(frozen=True)
class HeadFiles:
    """The file of a linear `head`, or of `text_features`, that a model is to have as its head."""

    head: Path | None = None
    text_features: Path | None = None

    @property
    def names(self) -> dict[str, str]:
        """The names of the files without their folders, which results do not keep."""
        return {name: path.name for name, path in vars(self).items() if path is not None}

    def put_on(self, model: nn.Module, name: str) -> nn.Module:
        """Give a model, in place, the head of these files, if there is one; `name` is its name.

        Raises KeeprateError for files that cannot be read or do not fit.
        """
        if self.head and self.text_features:
            raise KeeprateError(f"'{name}' has head and text_features: give one of them.")
        path = self.head or self.text_features
        if path is None:
            return model
        vit: Any = model
        # exactly: what other classes do with a head is not known
        if type(model) not in (VisionTransformer, Eva):
            raise KeeprateError(
                f"'{name}' is a {type(model).__name__}: it takes no head of a file."
            )
        device = next(model.parameters()).device
        head, classes = (_linear if self.head else _zero_shot)(vit, path, name)
        vit.head, vit.num_classes = head.to(device), classes
        return model


def _linear(vit: Any, path: Path, name: str) -> tuple[nn.Module, int]:
    """Return a linear head in a file, with its number of classes."""
    weights = read_weights(path)
    if set(weights) != {"weight", "bias"}:
        few = ", ".join(sorted(weights)[:3])
        raise KeeprateError(f"'{path}' is no linear head: it holds {few}, not weight and bias.")
    linear, channels = linear_of(weights["weight"].float(), weights["bias"].float()), vit.embed_dim
    if linear.in_features == channels:
        return linear, linear.out_features
    if linear.in_features != 2 * channels:
        raise KeeprateError(
            f"The head '{path}' takes {linear.in_features} numbers. '{name}' gives {channels}, or "
            f"{2 * channels}, its class token beside its mean patch token; heads of the tokens of "
            "several blocks are not supported."
        )
    if vit.global_pool != "token":
        raise KeeprateError(f"'{name}' pools by {vit.global_pool}: this head needs a class token.")
    vit.global_pool = ""  # the head itself pools
    return JoinedHead(linear, vit.num_prefix_tokens), linear.out_features


def _zero_shot(vit: Any, path: Path, name: str) -> tuple[nn.Module, int]:
    """Return a head of text features behind the model's own, with its number of classes."""
    texts = _text_features(path)
    outputs = vit.num_classes or vit.num_features
    if texts.shape[1] != outputs:
        raise KeeprateError(
            f"The text features '{path}' have {texts.shape[1]} numbers for each class, '{name}' "
            f"gives {outputs} for each image: they are of another model."
        )
    return nn.Sequential(vit.head, ZeroShotHead(texts)), len(texts)


def _text_features(path: Path) -> Tensor:
    """Return features (classes, C) of a .npy file, or of one that holds a single tensor."""
    if path.suffix != ".npy":
        tensors = list(read_weights(path).values())
    else:
        try:
            tensors = [torch.from_numpy(np.load(path, allow_pickle=False))]
        except (OSError, TypeError, ValueError) as error:
            raise KeeprateError(f"Cannot read '{path}': {first_line(error)}.") from error
    if len(tensors) != 1 or tensors[0].dim() != 2 or not bool(tensors[0].isfinite().all()):
        raise KeeprateError(f"'{path}' holds no single table of numbers (classes, features).")
    return tensors[0].float()
