"""Load a timm model with local, downloaded or random weights, and refuse what does not fit."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import huggingface_hub
import timm
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ...errors import KeeprateError, unknown_name
from ...plugins.registry import registry
from ...results.weights_origin import WeightsKind, WeightsOrigin
from .checkpoints import Shapes, differences, read_safetensors, read_shapes, read_weights
from .file_kinds import FileKind, kind_of
from .jax_weights import load_jax
from .loaded import LoadedModel, config_of, weights_sha256
from .reasons import first_line, hub_problem
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
    check_name(name)
    request = _Request(name, image_size, num_classes)
    skeleton = request.skeleton()  # costs nothing: what does not fit is refused before any loading
    if image_size is not None:
        check_image_size(skeleton, image_size)
    if weights is not None:
        model = _load_from_file(request, weights, skeleton)
        origin = WeightsOrigin(WeightsKind.FILE, weights.name)
    elif pretrained:
        model, origin = _load_from_hub(request, skeleton), WeightsOrigin(WeightsKind.PRETRAINED)
    else:
        model, origin = request.create(), WeightsOrigin(WeightsKind.RANDOM)
    return LoadedModel(model.eval(), name, origin, weights_sha256(model))


def outline_timm(
    name: str, *, weights: Path | None, image_size: tuple[int, int] | None
) -> LoadedModel:
    """Return the shapes of a timm model, on the meta device, as `outline` does."""
    check_name(name)
    request = _Request(name, image_size, None)
    skeleton = request.skeleton()
    if image_size is not None:
        check_image_size(skeleton, image_size)
    if weights is not None:
        request, _, _ = _fit_classes(request, weights, skeleton)
        origin = WeightsOrigin(WeightsKind.FILE, weights.name)
        return LoadedModel(request.skeleton(), name, origin, "")
    # hf-hub:... and local-dir:... are pages and folders that bring their own weights
    if ":" not in name and not any(config_of(skeleton).get(key) for key in PUBLISHED):
        raise KeeprateError(f"timm publishes no weights for '{name}'. {REMEDY}")
    return LoadedModel(skeleton, name, WeightsOrigin(WeightsKind.PRETRAINED), "")


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


def check_name(name: str) -> None:
    """Raise KeeprateError, with the nearest name, unless timm knows the model and its tag."""
    source, colon, location = name.partition(":")
    if colon:  # "hf-hub:..." and "local-dir:...", which timm looks up elsewhere
        _check_hub_page(name, source, location)
        return
    _ = registry().backbones  # importing a family may teach timm models of its own
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = difflib.get_close_matches(architecture, timm.list_models(), n=1)
        if not close:
            raise KeeprateError(f"No model '{name}'. timm.list_models() lists them all.")
        raise unknown_name("model", name, close)
    tagged_names = timm.list_pretrained(f"{architecture}.*")
    if tag and name not in tagged_names:
        raise unknown_name("model", name, [architecture, *tagged_names])


def _check_hub_page(name: str, source: str, location: str) -> None:
    """Refuse a model on the hub at once where the hub is out of reach and nothing is cached."""
    if source not in ("hf-hub", "hf_hub"):
        return
    try:
        page = location.partition("@")[0]  # without the revision
        cached = huggingface_hub.try_to_load_from_cache(page, "config.json")
    except ValueError as error:
        raise KeeprateError(f"No model '{name}': {first_line(error)}.") from error
    # not a path: None, or a mark that the page is known to lack the file
    if not isinstance(cached, str) and (reason := hub_problem()):
        raise KeeprateError(f"Cannot look the model '{name}' up: {reason}.")


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
class _Request:
    name: str
    image_size: tuple[int, int] | None
    num_classes: int | None

    def create(self, *, pretrained: bool = False, **overlay: object) -> nn.Module:
        """Create the model; `overlay` replaces entries of timm's description of it."""
        if self.image_size is not None:  # so that images are resized to it as well
            overlay["input_size"] = (3, *self.image_size)
        sizes = {"img_size": self.image_size, "num_classes": self.num_classes}
        arguments = {key: value for key, value in sizes.items() if value is not None}
        return timm.create_model(
            self.name, pretrained, pretrained_cfg_overlay=overlay, **cast(Any, arguments)
        )

    def skeleton(self) -> nn.Module:
        """Create the model without weights, for its shapes; KeeprateError where timm cannot."""
        try:
            with torch.device("meta"), _Unfilled():  # type: ignore[no-untyped-call]
                return self.create()
        except TypeError as error:
            if "img_size" not in str(error):  # a mistake elsewhere, which keeps its traceback
                raise
            raise KeeprateError(f"Model '{self.name}' has no image size to set.") from error
        except (OSError, RuntimeError, ValueError) as error:
            reason = first_line(error)
            raise KeeprateError(f"Cannot create the model '{self.name}': {reason}.") from error


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


def _fit_classes(
    request: _Request, path: Path, skeleton: nn.Module
) -> tuple[_Request, Shapes, Shapes]:
    """Return the request with the number of classes in a file, the file's shapes and the model's.

    Raises KeeprateError where the file was made for another image size.
    """
    shapes = read_shapes(path, skeleton)
    if request.num_classes is None:
        request = replace(request, num_classes=_classes_in(shapes, config_of(skeleton)))
        skeleton = request.skeleton()
    expected = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    if request.image_size is None:
        _check_positions(path, shapes, expected)
    return request, shapes, expected


def _load_from_file(request: _Request, path: Path, skeleton: nn.Module) -> nn.Module:
    """Create the model with the weights of a file; KeeprateError unless they all fit."""
    request, shapes, expected = _fit_classes(request, path, skeleton)
    if kind_of(path) is FileKind.NPZ:
        return load_jax(request.create(), request.name, path, shapes)
    # not the file: timm goes by its name and knows fewer places for weights in it
    overlay: dict[str, Any] = {"state_dict": read_weights(path), "source": "state_dict"}
    if request.num_classes is not None:  # or else timm leaves a head of another size untrained
        overlay["num_classes"] = request.num_classes
    try:
        model = request.create(pretrained=True, **overlay)
    except (RuntimeError, KeyError, ValueError, AssertionError) as error:
        # torch's own message has a line for each difference
        reason = differences(shapes, expected) or first_line(error)
        message = f"The weights in '{path}' do not fit the model '{request.name}': {reason}."
        raise KeeprateError(message) from error
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


def _check_positions(path: Path, shapes: Shapes, expected: Shapes) -> None:
    """Refuse a position embedding that timm would silently resample to another number."""
    theirs, ours = (s.get("pos_embed", ())[-2:-1] for s in (shapes, expected))
    if theirs and ours and theirs != ours:
        raise KeeprateError(
            f"'{path}' has {theirs[0]} position embeddings, the model has {ours[0]}: it was made "
            "for another image size. Say which: --image-size PIXELS."
        )


def _load_from_hub(request: _Request, skeleton: nn.Module) -> nn.Module:
    """Create the model with its published weights; KeeprateError where they cannot be had."""
    config = config_of(skeleton)
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
        return request.create(pretrained=True, **overlay)
    except Exception as error:  # whatever the hub's client, its transport or timm raises
        raise _weights_error(request.name, first_line(error)) from error


def _weights_error(name: str, reason: str) -> KeeprateError:
    return KeeprateError(f"Cannot get the pretrained weights of '{name}': {reason}. {REMEDY}")


def _cached(config: dict[str, Any]) -> str | None:
    """Return the path of a model's weights in the hub's local cache, None if they are not there."""
    names = [config["hf_hub_filename"]] if "hf_hub_filename" in config else HUB_FILES
    paths = [huggingface_hub.try_to_load_from_cache(config["hf_hub_id"], name) for name in names]
    return next((path for path in paths if isinstance(path, str)), None)
