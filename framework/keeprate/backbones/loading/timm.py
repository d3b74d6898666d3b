"""Load a timm model with local, downloaded or random weights, and refuse what does not fit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
from torch import nn

from ...errors import KeeprateError
from ...results.weights_origin import WeightsKind, WeightsOrigin
from .adapted_weights import (
    LOADING_ERRORS,
    PositionTable,
    adaptations,
    by,
    check_size,
    judge,
    position_tables,
    resample,
)
from .checkpoints import Shapes, in_timm_names, read_safetensors, read_shapes, read_weights
from .file_kinds import FileKind, kind_of
from .jax_weights import load_jax
from .loaded import LoadedModel, config_of, weights_sha256
from .reasons import first_line, hub_problem
from .stated_input import stated_inputs
from .timm_request import TimmRequest
from .weight_types import check_types

REMEDY = "Give local weights: --weights FILE.safetensors."
LOCAL = "local-dir:"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
PUBLISHED = ("hf_hub_id", "url", "file", "state_dict")
"""Keys of timm's description of a model under which its weights are found."""


def load_timm(
    name: str,
    *,
    weights: Path | None,
    pretrained: bool,
    image_size: tuple[int, int] | None,
    num_classes: int | None,
) -> LoadedModel:
    """Create a timm model as `load_model` does, with images of `image_size` (H, W) in pixels."""
    request = TimmRequest.parse(name, image_size, num_classes)
    skeleton = request.skeleton()  # costs nothing: what does not fit is refused before any loading
    if image_size is not None:
        check_image_size(skeleton, image_size)
    adapted: tuple[str, ...] = ()
    if weights is not None:
        fit = _fit_file(request, weights, skeleton)
        model = _load_from_file(fit, weights, skeleton)
        origin = WeightsOrigin(WeightsKind.FILE, weights.name)
        adapted = fit.adapted
    elif pretrained:
        fit = _fit_published(request, skeleton)
        model, origin = _load_from_hub(fit, skeleton), WeightsOrigin(WeightsKind.PRETRAINED)
        adapted = fit.adapted
    else:
        model, origin = request.create(), WeightsOrigin(WeightsKind.RANDOM)
    stated = () if weights is None else stated_inputs(weights, request.name)
    model = request.heads.put_on(model, request.name)
    sha256 = weights_sha256(model)
    return LoadedModel(model.eval(), request.title, origin, sha256, adapted=adapted, stated=stated)


def outline_timm(
    name: str, *, weights: Path | None, image_size: tuple[int, int] | None
) -> LoadedModel:
    """Return the shapes of a timm model, on the meta device, as `outline` does."""
    request = TimmRequest.parse(name, image_size)
    skeleton = request.skeleton()
    if image_size is not None:
        check_image_size(skeleton, image_size)
    if weights is not None:
        fit = _fit_file(request, weights, skeleton)
        origin = WeightsOrigin(WeightsKind.FILE, weights.name)
        model = request.heads.put_on(fit.request.skeleton(), request.name)
        return LoadedModel(model, request.title, origin, "", adapted=fit.adapted)
    # hf-hub:... and local-dir:... are pages and folders that bring their own weights
    if ":" not in request.name and not any(config_of(skeleton).get(key) for key in PUBLISHED):
        raise KeeprateError(f"timm publishes no weights for '{request.name}'. {REMEDY}")
    fit = _fit_published(request, skeleton)
    origin = WeightsOrigin(WeightsKind.PRETRAINED)
    model = request.heads.put_on(skeleton, request.name)
    return LoadedModel(model, request.title, origin, "", adapted=fit.adapted)


def find_published(name: str, config: dict[str, Any]) -> str | None:
    """Return the path of a timm model's cached weights, None where timm can fetch them.

    `config` is timm's description of the model. Raises KeeprateError where the hub cannot be
    reached and no weights are cached.
    """
    if "hf_hub_id" not in config or not (reason := hub_problem()):
        return None
    cached = _cached(config)
    if cached is None:
        raise _weights_error(name, reason)
    return cached


def check_image_size(skeleton: nn.Module, image_size: tuple[int, int]) -> None:
    """Raise KeeprateError unless images (H, W) in pixels are a whole number of patches."""
    patch = getattr(getattr(skeleton, "patch_embed", None), "patch_size", 1)
    sizes = (patch, patch) if isinstance(patch, int) else patch
    for side, size in zip(image_size, sizes, strict=True):
        if side < size:
            raise KeeprateError(
                f"Image size {side} is smaller than one patch of the model ({size} pixels)."
            )
        if side % size:
            below = side - side % size
            raise KeeprateError(
                f"Image size {side} is not a multiple of the model's patch size {size}: "
                f"use {below} or {below + size}."
            )


@dataclass(frozen=True)
class _Fit:
    """Weights that fit: how timm is to load them, and what it changes for the image size."""

    request: TimmRequest
    overlay: dict[str, Any]
    adapted: tuple[str, ...] = ()
    left: tuple[PositionTable, ...] = ()
    as_they_are: bool = False

    def create(self, **overlay: object) -> nn.Module:
        """Create the model with these weights; more entries say where published ones are."""
        model = self.request.create(pretrained=True, **self.overlay, **overlay)
        resample(model, self.left)
        return model


def _fit_file(request: TimmRequest, path: Path, skeleton: nn.Module) -> _Fit:
    """Return how the weights of a file are loaded; KeeprateError unless all of them fit.

    The number of classes is the file's if none is asked for.
    """
    shapes, left_out = read_shapes(path, skeleton)
    if request.num_classes is None:
        request = replace(request, num_classes=_classes_in(shapes, config_of(skeleton)))
        skeleton = request.skeleton()
    overlay: dict[str, Any] = {"source": "state_dict"}
    if request.num_classes is not None:  # or else timm leaves a head of another size untrained
        overlay["num_classes"] = request.num_classes
    own = replace(request, image_size=None).skeleton() if request.image_size else skeleton
    tables = position_tables(shapes, own, skeleton)
    expected = _shapes_of(skeleton)
    if kind_of(path) is FileKind.NPZ:  # whether all weights fit, their own reader finds out
        check_size(path, shapes, expected, tables, request.image_size)
        left = [table for table in tables if shapes[table.name] == expected[table.name]]
        return _Fit(request, {}, adaptations(tables), tuple(left))
    if shapes == expected and not any(table.is_resampled for table in tables):
        return _Fit(request, overlay, left_out, as_they_are=True)
    create = partial(request.create_without_values, pretrained=True, **overlay)
    verdict = judge(create, shapes, expected, tables)
    if verdict.reason:
        raise KeeprateError(
            f"The weights in '{path}' do not fit the model '{request.title}': {verdict.reason}."
        )
    check_size(path, shapes, expected, tables, request.image_size)
    return _Fit(request, overlay, left_out + adaptations(tables), verdict.left)


def _fit_published(request: TimmRequest, skeleton: nn.Module) -> _Fit:
    """Return how published weights are loaded; KeeprateError unless they fit what is asked for."""
    if request.image_size is None and not request.arguments:
        return _Fit(request, {})
    own = replace(request, image_size=None, arguments={}).skeleton()
    shapes = _shapes_of(own)
    tables = position_tables(shapes, own, skeleton)
    create = partial(request.create_without_values, pretrained=True, source="")
    verdict = judge(create, shapes, _shapes_of(skeleton), tables)
    if verdict.reason:
        size = request.image_size
        wanted = f"an image size of {by(size)}" if size else f"'{request.title}'"
        raise KeeprateError(
            f"The weights of '{request.name}' do not fit {wanted}: {verdict.reason}."
        )
    return _Fit(request, {}, adaptations(tables), verdict.left)


def _shapes_of(model: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _load_from_file(fit: _Fit, path: Path, skeleton: nn.Module) -> nn.Module:
    """Create the model with the weights of a file."""
    if kind_of(path) is FileKind.NPZ:
        model = load_jax(fit.request.create(), fit.request.name, path)
        resample(model, fit.left)
        return model
    weights = in_timm_names(read_weights(path, own=skeleton.state_dict().keys()), skeleton)
    if fit.as_they_are:  # timm would load the weights of some hybrids' convolutions as well
        model = fit.request.create(**fit.overlay)
        model.load_state_dict(weights)
        return model
    try:
        # not the file: timm goes by its name and knows fewer places for weights in it
        model = fit.create(state_dict=weights)
    except LOADING_ERRORS as error:
        raise KeeprateError(f"Cannot load the weights '{path}': {first_line(error)}.") from error
    del config_of(model)["state_dict"]  # timm keeps a copy of all weights there
    return model


def _classes_in(shapes: Shapes, config: dict[str, Any]) -> int | None:
    """Return the number of classes of the head in a weights file, None where it has no head."""
    classifier = config.get("classifier")
    # distilled models have two heads, of as many classes
    head = classifier[0] if isinstance(classifier, tuple | list) else classifier
    shape = shapes.get(f"{head}.weight")
    # an offset counts outputs that are no class (background), which timm cuts off
    return shape[0] - config.get("label_offset", 0) if shape else None


def _load_from_hub(fit: _Fit, skeleton: nn.Module) -> nn.Module:
    """Create the model with its published weights; KeeprateError where they cannot be had."""
    request, config = fit.request, config_of(skeleton)
    if request.name.startswith(LOCAL):
        for path in sorted(Path(request.name.removeprefix(LOCAL)).glob("*.safetensors")):
            check_types(path, read_safetensors(path), skeleton)
    if request.num_classes not in (None, config["num_classes"]):
        raise KeeprateError(
            f"The pretrained weights of '{request.name}' have {config['num_classes']} classes, not "
            f"{request.num_classes}. {REMEDY}"
        )
    cached = find_published(request.name, config)
    overlay = {} if cached is None else {"file": cached, "source": "file"}
    try:
        return fit.create(**overlay)
    except Exception as error:  # whatever the hub's client, its transport or timm raises
        raise _weights_error(request.name, first_line(error)) from error


def _weights_error(name: str, reason: str) -> KeeprateError:
    return KeeprateError(f"Cannot get the pretrained weights of '{name}': {reason}. {REMEDY}")


def _cached(config: dict[str, Any]) -> str | None:
    """Return the path of a model's weights in the hub's local cache, None if they are not there."""
    names = [config["hf_hub_filename"]] if "hf_hub_filename" in config else HUB_FILES
    paths = [huggingface_hub.try_to_load_from_cache(config["hf_hub_id"], name) for name in names]
    return next((path for path in paths if isinstance(path, str)), None)
