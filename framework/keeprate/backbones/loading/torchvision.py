"""Load torchvision's Vision Transformers with its published weights, a file's or random ones."""

from __future__ import annotations

import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import get_model, get_model_weights, list_models, vision_transformer

from ...errors import KeeprateError, unknown_name
from ...request import TORCHVISION
from ...results.weights_origin import WeightsKind, WeightsOrigin
from .adapted_weights import PositionTable, adaptations
from .checkpoints import differences, read_shapes, read_weights
from .loaded import LoadedModel, weights_sha256
from .model_arguments import refuse_arguments
from .model_input import share_of
from .reasons import first_line
from .stated_input import StatedInput

_POSITIONS = "encoder.pos_embedding"
_HEAD = "heads.head.weight"
REMEDY = "Give the file: --weights FILE.pth."


@dataclass(frozen=True)
class TorchvisionRequest:
    """A model of torchvision with one of its published sets of weights, and images of a size.

    The set tells how images are prepared and, without `image_size`, their size. `side` is that
    size in pixels.
    """

    name: str
    model: str
    published: Any
    side: int

    @classmethod
    def parse(cls, name: str, image_size: tuple[int, int] | None) -> TorchvisionRequest:
        """Read `torchvision:MODEL` or `torchvision:MODEL.WEIGHTS`.

        WEIGHTS are one of torchvision's names, by default those that it calls DEFAULT. Raises
        KeeprateError for unknown names and sizes that are no square.
        """
        refuse_arguments(name)
        model, _, tag = name.removeprefix(TORCHVISION).partition(".")
        models = list_models(include="vit_*")
        if model not in models:
            known = [f"{TORCHVISION}{each}" for each in models]
            raise unknown_name("model", name, known)
        sets = get_model_weights(model)
        if tag and tag not in sets.__members__:
            known = [f"{TORCHVISION}{model}.{each.name}" for each in sets]
            raise unknown_name("model", name, known)
        published = sets[tag or "DEFAULT"]
        height, width = image_size or published.meta["min_size"]
        if height != width:
            raise KeeprateError(f"'{name}' takes square images, not {height} x {width} pixels.")
        return cls(name, model, published, height)

    def create(self, num_classes: int | None, device: str = "cpu") -> nn.Module:
        """Create the model with random weights; KeeprateError for a size that it does not take."""
        classes = len(self.published.meta["categories"]) if num_classes is None else num_classes
        sizes = {"image_size": self.side, "num_classes": classes}
        try:
            with torch.device(device):
                model: Any = get_model(self.model, weights=None, **sizes)
        except AssertionError as error:  # sides that are no multiple of a patch's
            raise KeeprateError(
                f"Image size {self.side} is not a multiple of the patch size of '{self.name}'."
            ) from error
        # as timm describes its models, and where all else looks for it
        model.pretrained_cfg = _description(self.published)
        model.pretrained_cfg["input_size"] = (3, self.side, self.side)
        vit: nn.Module = model.eval()
        return vit

    def filled(self, path: Path, asked: bool, device: str) -> tuple[nn.Module, tuple[str, ...]]:
        """Return the model with the weights of a file, and what was changed or left out.

        On the device "meta" only names and shapes are read. `asked` says that the size of images
        was asked for: without that, positions are not interpolated. Raises KeeprateError unless
        every weight fits.
        """
        shapes, left_out = read_shapes(path, self.create(None, "meta"))
        classes = shapes[_HEAD][0] if _HEAD in shapes else None
        model: Any = self.create(classes, device)
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        adapted = self._interpolation(path, shapes, expected, asked)
        weights = OrderedDict(read_weights(path, device, expected.keys()))
        if adapted:
            weights = vision_transformer.interpolate_embeddings(
                self.side, model.patch_size, weights
            )
        try:
            model.load_state_dict(weights)  # it knows the names of torchvision's older files
        except RuntimeError as error:
            found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
            reason = differences(found, expected) or first_line(error)
            raise KeeprateError(
                f"The weights in '{path}' do not fit the model '{self.name}': {reason}."
            ) from error
        return model, left_out + adapted

    def _interpolation(
        self, path: Path, shapes: Mapping[str, Any], expected: Mapping[str, Any], asked: bool
    ) -> tuple[str, ...]:
        """Return a line on the positions that have to be interpolated, () where none have to."""
        theirs, ours = (isqrt(each.get(_POSITIONS, (1, 1))[1] - 1) for each in (shapes, expected))
        if theirs == ours or theirs**2 + 1 != shapes.get(_POSITIONS, (1, 0))[1]:
            return ()  # what has no square of patches does not fit, and is refused as such
        if not asked:
            raise KeeprateError(
                f"'{path}' has {theirs**2 + 1} position embeddings, the model has {ours**2 + 1}: "
                "it was made for another image size. Name the weights it holds, as "
                f"{TORCHVISION}{self.model}.WEIGHTS, or say the size: --image-size PIXELS."
            )
        table = PositionTable(_POSITIONS, (theirs, theirs), (ours, ours))
        return adaptations([table])


def load_torchvision(
    name: str,
    *,
    weights: Path | None,
    pretrained: bool,
    image_size: tuple[int, int] | None,
    num_classes: int | None,
) -> LoadedModel:
    """Create a torchvision model as `load_model` does, with images of `image_size` (H, W)."""
    request = TorchvisionRequest.parse(name, image_size)
    if weights is None and not pretrained:
        drawn, origin = request.create(num_classes), WeightsOrigin(WeightsKind.RANDOM)
        return LoadedModel(drawn, request.name, origin, weights_sha256(drawn))
    path = _fetched(request) if weights is None else weights
    origin = WeightsOrigin(WeightsKind.PRETRAINED)
    if weights is not None:
        _refuse_tag(request, weights)
        origin = WeightsOrigin(WeightsKind.FILE, weights.name)
    asked = image_size is not None
    request.filled(path, asked, "meta")  # what does not fit is refused before any loading
    model, adapted = request.filled(path, asked, "cpu")
    sha256, stated = weights_sha256(model), _stated(request, weights)
    return LoadedModel(model, request.name, origin, sha256, adapted=adapted, stated=stated)


def outline_torchvision(
    name: str, *, weights: Path | None, image_size: tuple[int, int] | None
) -> LoadedModel:
    """Return the shapes of a torchvision model, on the meta device, as `outline` does."""
    request = TorchvisionRequest.parse(name, image_size)
    if weights is None:
        origin = WeightsOrigin(WeightsKind.PRETRAINED)
        return LoadedModel(request.create(None, "meta"), request.name, origin, "")
    _refuse_tag(request, weights)
    model, adapted = request.filled(weights, image_size is not None, "meta")
    origin = WeightsOrigin(WeightsKind.FILE, weights.name)
    stated = _stated(request, weights)
    return LoadedModel(model, request.name, origin, "", adapted=adapted, stated=stated)


def check_torchvision_weights(name: str) -> None:
    """Raise KeeprateError where published weights are neither in the cache nor within reach."""
    request = TorchvisionRequest.parse(name, None)
    url = request.published.url
    if _cached(url).is_file():
        return
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10).close()
    except OSError as error:
        raise _weights_error(request, error) from error


def _fetched(request: TorchvisionRequest) -> Path:
    """Return torchvision's own file of the published weights, downloaded where it is not cached."""
    check_torchvision_weights(request.name)
    url, path = request.published.url, _cached(request.published.url)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = path.stem.rpartition("-")[2]  # the beginning of its SHA-256
        try:
            torch.hub.download_url_to_file(url, str(path), digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise _weights_error(request, error) from error
    return path


def _cached(url: str) -> Path:
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])


def _weights_error(request: TorchvisionRequest, error: Exception) -> KeeprateError:
    where = request.published.url
    return KeeprateError(
        f"Cannot get the pretrained weights of '{request.name}' ({where}): {first_line(error)}. "
        f"{REMEDY}"
    )


def _refuse_tag(request: TorchvisionRequest, weights: Path) -> None:
    """Refuse the name of published weights in place of a file."""
    if weights.name in type(request.published).__members__ and not weights.exists():
        raise KeeprateError(
            f"No weights file '{weights}'. Published weights go with the model's name: "
            f"{TORCHVISION}{request.model}.{weights}."
        )


def _stated(request: TorchvisionRequest, weights: Path | None) -> tuple[StatedInput, ...]:
    """Return how images are prepared for the published weights that a file's name is of."""
    return tuple(
        StatedInput(f"its name (torchvision's {each.name})", _description(each))
        for each in type(request.published)
        if weights is not None and each.url.rpartition("/")[2] == weights.name
    )


def _description(published: Any) -> dict[str, Any]:
    """Return how images are prepared for published weights, in the words of timm."""
    preset = published.transforms()
    (cut,), (goal,) = preset.crop_size, preset.resize_size
    return {
        "mean": tuple(preset.mean),
        "std": tuple(preset.std),
        "interpolation": preset.interpolation.value,
        "crop_pct": share_of(cut, goal),
        "crop_mode": "center",
    }
