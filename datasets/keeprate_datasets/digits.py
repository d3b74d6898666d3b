"""Handwritten digits and a small trained classifier, both inside the package: no download."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from importlib import resources
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import timm
import torch
from safetensors.torch import load as load_safetensors
from sklearn.datasets import load_digits
from torch import Tensor, nn

from keeprate.dataset import DataSet, Sample
from keeprate.errors import KeeprateError

if TYPE_CHECKING:
    from collections.abc import Sequence

SPLIT_SEED = 20240613
HELD_OUT_PER_CLASS = 60
IMAGE_SIZE = 32
NUM_CLASSES = 10


class Digits(DataSet):
    """600 held-out handwritten digits, with a small ViT trained on the other 1197.

    The images are scikit-learn's `load_digits` (1797 digits of 8x8 pixels by 13 writers, from the
    test part of "Optical Recognition of Handwritten Digits", Alpaydin & Kaynak 1998, UCI),
    enlarged to 32x32. Sample ids are "test/" and the position in scikit-learn's order.
    """

    name: ClassVar[str] = "digits"
    embedded: ClassVar[bool] = True
    _split: Literal["test", "training"] = "test"

    def samples(self) -> Sequence[Sample]:
        return self._samples

    def image(self, index: int) -> Tensor:
        return self._images[index]  # (3, 32, 32)

    def content(self, index: int) -> str:
        return "0"  # for all: scikit-learn's digits do not change

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        if num_classes != NUM_CLASSES:
            raise KeeprateError(
                f"Data set '{self.name}' has {NUM_CLASSES} classes, the model's head has "
                f"{num_classes}. Leave the model out to use the classifier that ships with it."
            )

    def classifier(self) -> nn.Module:
        return load_classifier()

    def calibration(self) -> DataSet:
        return training(Digits())

    @cached_property
    def _positions(self) -> np.ndarray:
        return held_out_positions() if self._split == "test" else training_positions()

    @cached_property
    def _samples(self) -> tuple[Sample, ...]:
        labels = load_digits().target
        return tuple(Sample(f"{self._split}/{i:04d}", int(labels[i])) for i in self._positions)

    @cached_property
    def _images(self) -> Tensor:  # (600, 3, 32, 32), or 1197 of the training
        return enlarged(load_digits().images[self._positions])


def training(data: Digits) -> Digits:
    """Return a data set of digits with the 1197 digits that are not held out in their place."""
    data._split, data.variant = "training", "training images"
    return data


def held_out_positions() -> np.ndarray:
    """The 600 held-out positions in scikit-learn's order, sorted: 60 of each class, drawn once.

    Drawn with NumPy's legacy generator, whose stream is frozen, so that every version draws alike.
    """
    labels = load_digits().target
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    per_class = [shuffled[labels[shuffled] == c][:HELD_OUT_PER_CLASS] for c in range(NUM_CLASSES)]
    return np.sort(np.concatenate(per_class))


def training_positions() -> np.ndarray:
    """The 1197 positions that are not held out, sorted."""
    return np.setdiff1d(np.arange(len(load_digits().target)), held_out_positions())


def enlarged(images: np.ndarray) -> Tensor:
    """Grey images (N, 8, 8) with values 0..16 as (N, 3, 32, 32) uint8.

    Bilinear weights for a factor of four are multiples of 1/64, so the result is exact and the
    same on every machine.
    """
    grey = torch.from_numpy(images).float()[:, None]  # (N, 1, 8, 8)
    size = (IMAGE_SIZE, IMAGE_SIZE)
    large = nn.functional.interpolate(grey, size=size, mode="bilinear", align_corners=False)
    return (large * (255 / 16)).round().to(torch.uint8).repeat(1, 3, 1, 1)


def new_classifier(image_size: int = IMAGE_SIZE, *, drop_path_rate: float = 0.0) -> nn.Module:
    """Return the classifier with random weights: 12 blocks, class token, 0.6 M parameters.

    Its patches have 4 x 4 pixels.
    """
    config = {
        "architecture": "vit_digits",
        "tag": None,
        "custom_load": False,
        "url": None,
        "hf_hub_id": None,
        "input_size": (3, image_size, image_size),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "num_classes": NUM_CLASSES,
        "label_names": tuple(str(digit) for digit in range(NUM_CLASSES)),
    }
    return timm.create_model(
        "vit_tiny_patch16_224",
        pretrained_cfg_overlay=config,
        img_size=image_size,
        patch_size=4,
        embed_dim=64,
        depth=12,
        num_heads=4,
        num_classes=NUM_CLASSES,
        drop_path_rate=drop_path_rate,
    )


def load_classifier(name: str = Digits.name, image_size: int = IMAGE_SIZE) -> nn.Module:
    """Return the trained classifier of the data set `name`, in eval mode.

    Raises KeeprateError if its weights are not those that its training log names.
    """
    folder = resources.files(__package__)
    weights, log = weights_file(name), log_file(name)
    data = folder.joinpath(weights).read_bytes()
    expected = json.loads(folder.joinpath(log).read_text(encoding="utf-8"))["sha256"]
    if hashlib.sha256(data).hexdigest() != expected:
        raise KeeprateError(
            f"{weights} is not the file that {log} describes. Install keeprate again."
        )
    model = new_classifier(image_size)
    model.load_state_dict(load_safetensors(data))
    return model.eval()


def weights_file(name: str) -> str:
    """Return the name of the file, in this package, of the weights of a data set's classifier."""
    return f"{name.replace('-', '_')}.safetensors"


def log_file(name: str) -> str:
    """Return the name of the file of the log of the training that gave these weights."""
    return f"{name.replace('-', '_')}.json"
