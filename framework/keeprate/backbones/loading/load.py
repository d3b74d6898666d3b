"""Load a model by name, of timm or of transformers, or only its shapes."""

from __future__ import annotations

from pathlib import Path

from ...errors import KeeprateError
from ...request import PREFIX
from .huggingface import load_huggingface, outline_huggingface
from .loaded import LoadedModel
from .timm import load_timm, outline_timm


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
    size and classes; all other names are timm's.

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
    return load_timm(
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
    return outline_timm(name, weights=weights, image_size=image_size)


def _refuse_choices(name: str, *choices: object) -> None:
    """Raise KeeprateError where a choice is made that a transformers model makes itself."""
    if any(choice is not None for choice in choices):
        raise KeeprateError(f"'{name}' has weights, image size and classes of its own.")
