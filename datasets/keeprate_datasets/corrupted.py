"""Any data set of images, corrupted as a model sees them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from keeprate.data.named import named_data_set
from keeprate.dataset import DataSet, Sample, TextDataSet
from keeprate.errors import KeeprateError

from .corruptions import SIZE, VERSION, Kind, Severity, corrupt


class Corrupted(DataSet):
    """Another data set of images, corrupted: noise, blur, compression, light, hidden patches.

    `data` is the other data set, or a text that names it as `--data` does. What a model sees is
    corrupted, resized and cut out already, at a shorter side of 224 pixels: images of another size
    are resized to it and back. The same image is always corrupted in the same way.
    """

    name: ClassVar[str] = "corrupted"

    def __init__(self, data: str | DataSet, kind: Kind, severity: Severity = 3) -> None:
        self.data = named_data_set(data) if isinstance(data, str) else data
        self.kind: Kind = kind
        self.severity: Severity = severity
        if isinstance(self.data, TextDataSet):
            raise KeeprateError(f"data '{self.data.name}' has texts, and images are corrupted.")
        if isinstance(self.data, Corrupted):
            raise KeeprateError("data is corrupted already: name the data set inside it.")
        self.variant = f"{self.data.title}, {kind} {severity}"

    def samples(self) -> Sequence[Sample]:
        return self.data.samples()

    def image(self, index: int) -> Tensor:
        return self.data.image(index)

    def seen(self, index: int, image: Tensor) -> Tensor:
        given = self.data.seen(index, image)
        height, width = given.shape[-2:]
        ratio = SIZE / min(height, width)
        resized = _resized(given, round(height * ratio), round(width * ratio))
        pixels = resized.permute(1, 2, 0).contiguous().numpy()  # (H, W, 3)
        changed = corrupt(pixels, self.kind, self.severity, self.samples()[index].id)
        return _resized(torch.from_numpy(changed).permute(2, 0, 1), height, width).contiguous()

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        self.data.bind(num_classes, label_names)

    def bad_samples(self) -> Mapping[str, str]:
        return self.data.bad_samples()

    def notes(self) -> Sequence[str]:
        return self.data.notes()

    def classifier(self) -> nn.Module | None:
        return self.data.classifier()

    def calibration(self) -> DataSet | None:
        return self.data.calibration()  # not corrupted: what comes is not known beforehand

    def content(self, index: int) -> Path | str | None:
        return self.data.content(index)

    def fingerprint(self) -> str:
        return corrupted_fingerprint(self.data.fingerprint(), self.kind, self.severity)


def corrupted_fingerprint(clean: str, kind: Kind, severity: Severity) -> str:
    """Return the fingerprint of corrupted images, from that of the data set inside."""
    text = f"{clean}\n{kind}\n{severity}\n{VERSION}\n"
    return hashlib.sha256(text.encode()).hexdigest()


def _resized(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[-2:] == (height, width):
        return image
    bicubic = v2.InterpolationMode.BICUBIC
    resized: Tensor = functional.resize(image, [height, width], bicubic, antialias=True)
    return resized
