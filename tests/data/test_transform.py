"""The transform is timm's evaluation transform, for every crop mode, size and shape of image."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform
from torch import Tensor

from keeprate.backbones.loading.model_input import ModelInput
from keeprate.data.images import build_transform, decode
from keeprate.errors import KeeprateError
from paths import SHARED

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

PHOTOS = SHARED / "data/imagenet-sample/val"
SPEC = ModelInput(
    image_size=(64, 64),
    mean=(0.5, 0.4, 0.3),
    std=(0.5, 0.25, 0.2),
    interpolation="bicubic",
    crop_pct=0.9,
    crop_mode="center",
)


def smooth_image(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(0)) * 255
    fine = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return fine[0].round().to(torch.uint8)


def by_timm(image: Tensor, spec: ModelInput) -> Tensor:
    transform = create_transform(
        input_size=(3, *spec.image_size),
        interpolation=spec.interpolation,
        mean=spec.mean,
        std=spec.std,
        crop_pct=spec.crop_pct,
        crop_mode=spec.crop_mode,
    )
    result = transform(Image.fromarray(image.permute(1, 2, 0).numpy()))
    assert isinstance(result, Tensor)
    return result


def grey_levels(first: Tensor, second: Tensor, spec: ModelInput) -> Tensor:
    return (first - second).abs() * torch.tensor(spec.std)[:, None, None] * 255


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("image_size", [(64, 64), (48, 80)])
@pytest.mark.parametrize("crop_pct", [1.0, 0.875])
@pytest.mark.parametrize("shape", [(100, 75), (75, 101), (64, 64), (20, 31), (5, 500), (1, 1)])
def test_it_equals_timms(
    crop_mode: str, image_size: tuple[int, int], crop_pct: float, shape: tuple[int, int]
) -> None:
    spec = replace(SPEC, crop_mode=crop_mode, image_size=image_size, crop_pct=crop_pct)
    image = smooth_image(*shape)
    ours, theirs = build_transform(spec)(image), by_timm(image, spec)
    assert ours.shape == theirs.shape == (3, *image_size)
    assert ours.dtype == torch.float32
    differences = grey_levels(ours, theirs, spec)
    assert differences.max() < 2.01
    assert differences.mean() < 0.2


def test_an_image_of_the_models_size_is_not_resampled() -> None:
    image = smooth_image(64, 64)
    spec = replace(SPEC, crop_pct=1.0)
    mean, std = (torch.tensor(values)[:, None, None] for values in (spec.mean, spec.std))
    expected = (image / 255 - mean) / std
    torch.testing.assert_close(build_transform(spec)(image), expected)


def test_a_line_of_pixels_does_not_grow_to_gigabytes() -> None:
    line = smooth_image(1, 40_000)
    assert build_transform(SPEC)(line).shape == (3, 64, 64)


def test_only_the_middle_of_a_long_image_matters() -> None:
    image = smooth_image(20, 1001)
    middle = image[..., 300:701]
    transform = build_transform(SPEC)
    assert grey_levels(transform(image), transform(middle), SPEC).max() < 3


def test_it_is_read_from_the_model_and_survives_pickling() -> None:
    model = timm.create_model("vit_tiny_patch16_224")
    spec = ModelInput.of(model)
    assert (spec.image_size, spec.mean, spec.crop_pct) == ((224, 224), (0.5, 0.5, 0.5), 0.9)
    image = smooth_image(300, 200)
    transform = build_transform(spec)
    again = pickle.loads(pickle.dumps(transform))
    assert torch.equal(transform(image), again(image))


@pytest.mark.parametrize(("field", "value"), [("interpolation", "random"), ("crop_mode", "none")])
def test_what_it_cannot_do_is_refused(field: str, value: str) -> None:
    changed = {field: value}
    with pytest.raises(KeeprateError, match=f"'{value}' is not among "):
        build_transform(replace(SPEC, **changed))  # type: ignore[arg-type]


@pytest.mark.skipif(not PHOTOS.exists(), reason="the sample photographs are not here")
def test_real_photographs_come_out_as_with_timm() -> None:
    spec = ModelInput.of(timm.create_model("vit_tiny_patch16_224"))
    transform = build_transform(spec)
    paths = sorted(PHOTOS.glob("*/*.JPEG"))[::25]
    differences = []
    for path in paths:
        with Image.open(path) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        assert torch.equal(decode(path), pixels)
        differences.append(grey_levels(transform(decode(path)), by_timm(pixels, spec), spec).mean())
    assert len(paths) == 20
    assert max(differences) < 0.05
