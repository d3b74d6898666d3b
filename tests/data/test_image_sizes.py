"""Images at several sizes: one decoding, the same view, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode, functional

from image_folder_factory import GIVEN, Folder, draw
from keeprate.data.image_cache import Contents
from keeprate.data.images import build_transform
from keeprate.data.preprocessing import ImagePreparation
from keeprate.data.samples import ImageSamples
from keeprate.errors import SampleError
from keeprate.evaluation.positioned_samples import PositionedSamples

SIZES = {(32, 40), (16, 20), (24, 20)}
SQUARE = replace(GIVEN, image_size=(32, 32))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("photographs"), images=3)


def samples(data: Folder, cache: Path | None = None) -> ImageSamples:
    prepared = ImagePreparation(data, GIVEN).prepare(range(3), cache, SIZES)
    assert isinstance(prepared.samples, ImageSamples)
    return prepared.samples


def by_size(images: ImageSamples, position: int) -> dict[tuple[int, int], Tensor]:
    found, _ = images[position]
    assert isinstance(found, dict)
    return found


def test_an_image_is_decoded_once_for_all_sizes(photographs: Path) -> None:
    data = Folder(photographs)
    found = by_size(samples(data), 1)
    assert {size: tuple(image.shape) for size, image in found.items()} == {
        size: (3, *size) for size in SIZES
    }
    assert data.decoded == [1]


def test_what_no_run_sees_is_not_rendered(photographs: Path) -> None:
    images = samples(Folder(photographs))
    assert set(by_size(images.at({(16, 20), (99, 99)}), 0)) == {(16, 20)}
    # of the model's own size alone it is a tensor, as without any other size
    alone, _ = images.at({(32, 40)})[0]
    assert isinstance(alone, Tensor)
    plain = ImagePreparation(Folder(photographs), GIVEN).prepare(range(3)).samples
    assert torch.equal(alone, plain[0][0])
    assert torch.equal(alone, by_size(images, 0)[32, 40])


def test_kept_images_are_decoded_once_and_found_again_at_each_size(
    photographs: Path, tmp_path: Path
) -> None:
    expected = by_size(samples(Folder(photographs)), 2)
    for decoded in ([2], []):
        data = Folder(photographs)
        kept = samples(data, tmp_path)
        data.decoded.clear()  # a few are decoded to compare, when there is a cache
        found = by_size(kept, 2)
        assert data.decoded == decoded
        assert all(torch.equal(found[size], expected[size]) for size in SIZES)
    assert len(list(tmp_path.glob("*.uint8"))) == 3


def test_sides_in_proportion_are_a_model_of_that_size_own_transform(photographs: Path) -> None:
    image = Folder(photographs).image(0)
    for size in ((16, 20), (24, 30)):
        smaller = build_transform(replace(GIVEN, image_size=size))
        assert torch.equal(build_transform(GIVEN, size)(image), smaller(image))
        assert Contents.of(Folder(photographs), GIVEN, size) == Contents.of(
            Folder(photographs), replace(GIVEN, image_size=size)
        )


def test_other_sides_show_the_same_part_of_the_image_squeezed(photographs: Path) -> None:
    # 60 rows become 32 / 0.9, rounded down 35, of which the middle 32 are cut out
    image = torch.arange(100, dtype=torch.uint8).expand(3, 60, 100)
    squeezed = build_transform(SQUARE, (32, 16)).crop(image)
    # 16 / 0.9 is 17, and 17 * 100 / 60 is 28: the middle 16 of 28 columns
    assert torch.equal(
        squeezed,
        functional.center_crop(
            functional.resize(
                image, [35, 28], interpolation=InterpolationMode.BICUBIC, antialias=True
            ),
            [32, 16],
        ),
    )
    # a model whose own images have these sides sees another part
    kept = Contents.of(Folder(photographs), SQUARE, (32, 16))
    assert kept.crop_mode == "center of 32 x 32"
    alike = Contents.of(Folder(photographs), replace(SQUARE, image_size=(32, 16)))
    assert kept.key != alike.key


def test_data_that_changes_what_is_seen_does_so_at_the_models_own_size(photographs: Path) -> None:
    class Darkened(Folder):
        seen_at: list[tuple[int, ...]]

        def seen(self, index: int, image: Tensor) -> Tensor:
            self.seen_at.append(tuple(image.shape))
            return image // 2

    data = Darkened(photographs)
    data.seen_at = []
    found = by_size(samples(data), 0)
    assert data.seen_at == [(3, 32, 40)]
    own = build_transform(GIVEN).crop(Folder(photographs).image(0)) // 2
    smaller = functional.resize(
        own, [16, 20], interpolation=InterpolationMode.BICUBIC, antialias=True
    )
    assert torch.equal(found[16, 20], build_transform(GIVEN).finish(smaller))


def test_an_image_that_is_not_finite_at_one_size_is_refused(photographs: Path) -> None:
    images = samples(Folder(photographs))

    def spoiled(image: Tensor) -> Tensor:
        return image / 0 if image.shape[-1] == 20 else image.float()

    broken = ImageSamples(images.data, spoiled, [0], images.load)
    with pytest.raises(SampleError, match="not finite"):
        PositionedSamples(broken, [0])[0]
