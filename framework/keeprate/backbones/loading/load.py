"""Load a model by name, of timm or of transformers, or only its shapes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ...errors import KeeprateError
from ...request import PREFIX, TORCHVISION
from .huggingface import load_huggingface, outline_huggingface
from .loaded import LoadedModel, config_of
from .model_arguments import refuse_arguments
from .timm import check_image_size, find_published, load_timm, outline_timm
from .timm_request import TimmRequest
from .torchvision import (
    TorchvisionRequest,
    check_torchvision_weights,
    load_torchvision,
    outline_torchvision,
)


def load_model(
    name: str,
    *,
    weights: Path | None = None,
    pretrained: bool = True,
    image_size: int | tuple[int, int] | None = None,
    num_classes: int | None = None,
) -> LoadedModel:
    """Create the model `name` with the weights of a file, of its hub page, or random ones.

    `hf:FOLDER` and `hf:NAME` are transformers' classifiers, which keep their own weights, image
    size and classes; `torchvision:NAME` and `torchvision:NAME.WEIGHTS` are torchvision's; all other
    names are timm's, and arguments of the model may follow them: `NAME:global_pool=avg`.

    Every weight must be present and fit. `image_size` (pixels: a side, or height and width)
    resamples tables of positions from the grid that they were trained for, which
    `LoadedModel.adapted` then says; without it a file made for another size is refused.
    `num_classes` is read from the file where it is None.
    Raises KeeprateError, in one line, for anything that does not fit and for weights that cannot be
    loaded.
    """
    if name.startswith(PREFIX):
        _refuse_choices(name, weights, image_size, num_classes)
        return load_huggingface(name, pretrained=pretrained)
    sides = (image_size, image_size) if isinstance(image_size, int) else image_size
    load = load_torchvision if name.startswith(TORCHVISION) else load_timm
    return load(
        name, weights=weights, pretrained=pretrained, image_size=sides, num_classes=num_classes
    )


def outline(
    name: str, *, weights: Path | None = None, image_size: tuple[int, int] | None = None
) -> LoadedModel:
    """Return the shapes of what `load_model` would load: a model without weights, on "meta".

    Only names and shapes are read from a weights file, only its descriptions from a page of the
    hub. Raises KeeprateError for anything that does not fit by these; `weights_sha256` is empty.
    """
    if name.startswith(PREFIX):
        _refuse_choices(name, weights, image_size)
        return outline_huggingface(name)
    outline_named = outline_torchvision if name.startswith(TORCHVISION) else outline_timm
    return outline_named(name, weights=weights, image_size=image_size)


def shapes_alone(name: str, image_size: tuple[int, int] | None) -> nn.Module:
    """Return a model of timm or torchvision on "meta", whether its weights are anywhere or not.

    Raises KeeprateError for unknown names and arguments, and sizes that the model does not take.
    """
    if name.startswith(TORCHVISION):
        return TorchvisionRequest.parse(name, image_size).create(None, "meta")
    request = TimmRequest.parse(name, image_size)
    model = request.skeleton()
    if image_size is not None:
        check_image_size(model, image_size)
    return request.heads.put_on(model, name)


def check_name(name: str) -> None:
    """Raise KeeprateError for a name, or arguments after it, that its library does not know."""
    if name.startswith(TORCHVISION):
        TorchvisionRequest.parse(name, None)
    elif not name.startswith(PREFIX):
        TimmRequest.parse(name, None)


def check_published(name: str, model: nn.Module) -> None:
    """Raise KeeprateError where the published weights of a model are out of reach.

    `model` is what `outline` made of the name.
    """
    if name.startswith(TORCHVISION):
        check_torchvision_weights(name)
    else:
        find_published(name, config_of(model))


def _refuse_choices(name: str, *choices: object) -> None:
    """Raise KeeprateError where a choice is made that a transformers model makes itself."""
    refuse_arguments(name)
    if any(choice is not None for choice in choices):
        raise KeeprateError(f"'{name}' has weights, image size and classes of its own.")
