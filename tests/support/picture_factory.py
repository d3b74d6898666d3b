"""A source of small random images for tiny models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from keeprate import DataSet, Sample
from keeprate.backbones.loading.loaded import LoadedModel
from keeprate.backbones.lookup import adapt
from keeprate.results.weights_origin import WeightsKind, WeightsOrigin
from keeprate.visualization.image_selection import ImageSource


class Noise(DataSet):
    """Four random images, of no size a model expects."""

    name = "noise"

    def samples(self) -> Sequence[Sample]:
        return [Sample(f"noise/{index}", index) for index in range(4)]

    def image(self, index: int) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        return torch.randint(0, 256, (3, 30, 41), generator=generator, dtype=torch.uint8)

    def bind(self, num_classes: int, label_names: Sequence[str] | None) -> None:
        """Any model will do."""


def source_of(model: nn.Module) -> ImageSource:
    """Random images for a model that was made here."""
    return ImageSource(
        LoadedModel(model, "tiny", WeightsOrigin(WeightsKind.GIVEN), ""), adapt(model), Noise()
    )
