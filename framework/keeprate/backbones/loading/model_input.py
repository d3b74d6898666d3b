"""What a model expects of its images."""

from __future__ import annotations

import math
from dataclasses import dataclass

from timm.data.config import resolve_model_data_config
from torch import nn

from ...errors import KeeprateError


@dataclass(frozen=True)
class ModelInput:
    """What a model expects of its images.

    `image_size` is (height, width) in pixels; `mean` and `std` are per channel, for values 0..1;
    images are resized to `image_size` / `crop_pct`, rounded down, and their middle is cut out.
    `crop_mode` is as in timm: "center" (the shorter side is resized), "squash" (both sides are
    resized) or "border" (the longer side is resized, and the rest is filled with the mean).
    """

    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float
    crop_mode: str

    @classmethod
    def of(cls, model: nn.Module) -> ModelInput:
        """Read a timm model's data configuration; KeeprateError where it is not for RGB images."""
        config = resolve_model_data_config(model)  # type: ignore[no-untyped-call]
        channels, height, width = config["input_size"]
        if channels != 3:
            raise KeeprateError(f"The model takes {channels} channels; images here have three.")
        return cls(
            image_size=(height, width),
            mean=tuple(config["mean"]),
            std=tuple(config["std"]),
            interpolation=config["interpolation"],
            crop_pct=config["crop_pct"],
            crop_mode=config["crop_mode"],
        )

    @property
    def fill(self) -> tuple[int, ...]:
        """The grey level (0 to 255) of each channel that fills the rest of a "border" image."""
        return tuple(round(255 * value) for value in self.mean)


def share_of(side: int, goal: int) -> float:
    """Return the share for which `side` / share, rounded down, is `goal`."""
    share = side / goal
    # the quotient may round to just below `goal`: the next smaller share lifts it
    return share if math.floor(side / share) == goal else math.nextafter(share, 0)
