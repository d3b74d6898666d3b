"""A timm model that is asked for, made with values or as shapes alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import KeeprateError
from .head_files import HEAD_ARGUMENTS, HeadFiles
from .label_names import older_labels
from .loaded import config_of
from .model_arguments import ModelName, title_of
from .reasons import first_line
from .timm_names import check_name


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
    """A timm model by name; `image_size` is (height, width) in pixels, None is the model's own.

    `arguments` are those of the model's class, in place of what timm gives it under this name;
    `heads` are for what is made of it in the end.
    """

    name: str
    image_size: tuple[int, int] | None
    num_classes: int | None
    arguments: Mapping[str, object] = field(default_factory=dict)
    heads: HeadFiles = field(default_factory=HeadFiles)

    @classmethod
    def parse(
        cls, text: str, image_size: tuple[int, int] | None, num_classes: int | None = None
    ) -> TimmRequest:
        """Read a name that may have arguments after it, NAME:argument=value.

        Raises KeeprateError for names that timm does not know, and for arguments that the model
        does not take.
        """
        name = ModelName.parse(text)
        check_name(name.base)
        plain = cls(name.base, image_size, num_classes)
        if not name.arguments:
            return plain
        typed: dict[str, Any] = name.typed(type(plain.skeleton()), HEAD_ARGUMENTS)
        heads = HeadFiles(**{key: typed.pop(key) for key in HEAD_ARGUMENTS if key in typed})
        return replace(plain, arguments=typed, heads=heads)

    @property
    def title(self) -> str:
        """The name with the arguments."""
        return title_of(self.name, {**self.arguments, **self.heads.names})

    def create(self, *, pretrained: bool = False, **overlay: object) -> nn.Module:
        """Create the model; `overlay` replaces entries of timm's description of it."""
        overlay = {**older_labels(self.name), **overlay}
        sizes = {"img_size": self.image_size, "num_classes": self.num_classes}
        given = {key: value for key, value in sizes.items() if value is not None}
        arguments: Any = {**given, **self.arguments}
        model = timm.create_model(
            self.name, pretrained, pretrained_cfg_overlay=overlay, **arguments
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
        if not self.arguments:
            return self._plain_skeleton()
        try:
            return self.create_without_values()
        except Exception as error:  # whatever a model's code raises for values it cannot use
            raise self._refused(error) from error

    def _plain_skeleton(self) -> nn.Module:
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
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> KeeprateError:
        return KeeprateError(f"Cannot create the model '{self.title}': {first_line(error)}.")
