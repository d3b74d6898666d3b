"""A timm model that is asked for, made with values or as shapes alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import KeeprateError
from .label_names import older_labels
from .loaded import config_of
from .reasons import first_line


class _Unfilled(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Fills no tensor with values.

    On "meta" there are none, and going through the motions of random weights takes most of the time
    in which a model is created there.
    """

    filling = frozenset(
        f"aten::{name}_"
        for name in ("add", "clamp", "erfinv", "fill", "mul", "normal", "uniform", "zero")
    )

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Tensor, ...] = (), kwargs: Any = None
    ) -> Any:
        return args[0] if func.name() in self.filling else func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class TimmRequest:
    """A timm model by name; `image_size` is (height, width) in pixels, None is the model's own."""

    name: str
    image_size: tuple[int, int] | None
    num_classes: int | None

    def create(self, *, pretrained: bool = False, **overlay: object) -> nn.Module:
        """Create the model; `overlay` replaces entries of timm's description of it."""
        overlay = {**older_labels(self.name), **overlay}
        sizes = {"img_size": self.image_size, "num_classes": self.num_classes}
        arguments = {key: value for key, value in sizes.items() if value is not None}
        model = timm.create_model(
            self.name, pretrained, pretrained_cfg_overlay=overlay, **cast(Any, arguments)
        )
        if self.image_size is not None:  # so that images are resized to it as well
            # not before: until the weights are loaded, the description is theirs
            config_of(model)["input_size"] = (3, *self.image_size)
        return model

    def create_without_values(self, *, pretrained: bool = False, **overlay: object) -> nn.Module:
        """Create the model on the meta device, as `create` does."""
        with torch.device("meta"), _Unfilled():  # type: ignore[no-untyped-call]
            return self.create(pretrained=pretrained, **overlay)

    def skeleton(self) -> nn.Module:
        """Create the model without weights, for its shapes; KeeprateError where timm cannot."""
        try:
            return self.create_without_values()
        except TypeError as error:
            if "PretrainedCfg" in str(error):  # timm takes none but its own keys
                raise KeeprateError(
                    f"timm cannot read pretrained_cfg in the config.json of '{self.name}': "
                    f"{first_line(error)}. Class names go under label_names."
                ) from error
            if "img_size" not in str(error):  # a mistake elsewhere, which keeps its traceback
                raise
            raise KeeprateError(f"Model '{self.name}' has no image size to set.") from error
        except AssertionError as error:  # of hybrids' grids, mostly without a word
            size = "x".join(map(str, self.image_size or ()))
            raise KeeprateError(
                f"Cannot create the model '{self.name}' for images of {size or 'its own'} pixels. "
                "Sides that are multiples of 32 suit most models with convolutions."
            ) from error
        except (OSError, RuntimeError, ValueError) as error:
            reason = first_line(error)
            raise KeeprateError(f"Cannot create the model '{self.name}': {reason}.") from error
