"""The samples of a pass as PyTorch's loader of batches takes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from ..data.samples import ImageSamples
from ..data.texts import TextSamples
from ..errors import KeeprateError, SampleError


class PositionedSamples(Dataset[Any]):
    """The samples at some positions.

    One that cannot be read, or has values that are not finite, raises SampleError.
    """

    def __init__(self, samples: ImageSamples | TextSamples, positions: Sequence[int]) -> None:
        self.samples, self.positions = samples, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position: int) -> Any:
        position = self.positions[position]
        try:
            item = self.samples[position]
        except KeeprateError as error:
            raise SampleError(str(error)) from error
        except Exception as error:  # a data set's own code may raise anything
            reason = f"{type(error).__name__}: {error}"
            raise SampleError(f"Sample '{self._id(position)}' cannot be read: {reason}") from error
        # one such image would spoil the figures of every run
        if not all(bool(part.isfinite().all()) for part in _images(item[0])):
            raise SampleError(
                f"The image of sample '{self._id(position)}' has values that are not finite (NaN "
                "or infinity): mend it, or leave it out of the data set."
            )
        return item

    def _id(self, position: int) -> str:
        return self.samples.data.samples()[self.samples.indices[position]].id


def _images(inputs: Any) -> Collection[Tensor]:
    """Return the images of a sample, one or one of each size; none of a text."""
    if isinstance(inputs, Tensor):
        return [inputs]
    return [part for size, part in inputs.items() if isinstance(size, tuple)]
