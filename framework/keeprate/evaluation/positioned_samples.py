"""The samples of a pass as PyTorch's loader of batches takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..errors import KeeprateError, SampleError


class PositionedSamples(Dataset[Any]):
    """The samples at some positions; one that cannot be read raises SampleError."""

    def __init__(self, samples: ImageSamples | TextSamples, positions: Sequence[int]) -> None:
        self.samples, self.positions = samples, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position: int) -> Any:
        position = self.positions[position]
        try:
            return self.samples[position]
        except KeeprateError as error:
            raise SampleError(str(error)) from error
        except Exception as error:  # a data set's own code may raise anything
            name = self.samples.data.samples()[self.samples.indices[position]].id
            reason = f"{type(error).__name__}: {error}"
            raise SampleError(f"Sample '{name}' cannot be read: {reason}") from error
