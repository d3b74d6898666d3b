"""A whole digit among fragments of others: images of which little matters, with a classifier."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import torch
from sklearn.datasets import load_digits

from keeprate.errors import KeeprateError

from .clutter import Clutter, cluttered, enlarged_digits
from .digits import Digits, load_classifier, training

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from keeprate.dataset import DataSet

IMAGE_SIZE = 56
DIFFICULTIES = {
    1: Clutter(fewest=2, most=6, smooth_noise=48, fine_noise=16, margin=4),
    2: Clutter(fewest=6, most=16, smooth_noise=48, fine_noise=16, margin=8),
    3: Clutter(fewest=6, most=16, smooth_noise=48, fine_noise=16, margin=4),
}
DIFFICULTY = 2
TRAINED_DIFFICULTY = 3
"""That of the training images: harder than what the classifier is asked by default."""
VERSION = 1
"""Part of the identity of the images: to be raised when a pixel of them changes."""


class ClutteredDigits(Digits):
    """600 held-out digits, each whole at a random place among fragments, with a small ViT.

    The task of recurrent-attention papers (Mnih et al. 2014), made on the fly from the digits of
    the data set "digits", enlarged to 24x24 pixels, on images of 56x56: 196 patches of 4x4, of
    which the digit fills 36. Every machine draws the same images. `difficulty` 2 has 6 to 16
    fragments, which keep 8 pixels off the digit, and noise; 1 has 2 to 6 of them, and in 3, for
    which the classifier was trained, 6 to 16 come as near as 4 pixels (1 as well).
    """

    name: ClassVar[str] = "cluttered-digits"
    is_default: ClassVar[bool] = True

    def __init__(self, difficulty: int = DIFFICULTY) -> None:
        if difficulty not in DIFFICULTIES:
            raise KeeprateError(
                f"Data set '{self.name}' has no difficulty {difficulty}, only "
                f"{', '.join(map(str, DIFFICULTIES))}."
            )
        self.difficulty = difficulty

    def image(self, index: int) -> Tensor:
        sample = self.samples()[index]
        clutter = DIFFICULTIES[self.difficulty]
        grey = cluttered(self._digits, index, clutter, IMAGE_SIZE, f"{sample.id} {VERSION}")
        return torch.from_numpy(grey).expand(3, -1, -1)  # (3, 56, 56)

    def content(self, index: int) -> str:
        return f"drawn {VERSION}, difficulty {self.difficulty}"

    def classifier(self) -> nn.Module:
        return load_classifier(self.name, IMAGE_SIZE)

    def calibration(self) -> DataSet:
        return training(ClutteredDigits(self.difficulty))

    @cached_property
    def _digits(self) -> np.ndarray:  # (600, 24, 24), or 1197 of the training
        return enlarged_digits(load_digits().images[self._positions])
