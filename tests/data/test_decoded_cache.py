"""Images kept decoded are those that decoding gives, and a file of them serves what it is for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from image_folder_factory import (
    GIVEN,
    IMAGES,
    Careless,
    Folder,
    cache_file,
    draw,
    equal,
    images,
    prepare,
)
from keeprate import KeeprateError
from keeprate.data.image_cache import SPOT_CHECKS, Contents
from keeprate.data.image_cache_file import in_words
from keeprate.data.images import build_transform
from paths import SHARED

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

PHOTOS = SHARED / "data/imagenet-sample/val"


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_items_are_bit_identical_in_the_first_pass_and_afterwards(
    root: Path, tmp_path: Path, crop_mode: str
) -> None:
    given = replace(GIVEN, crop_mode=crop_mode)
    plain = prepare(Folder(root), None, given=given)
    first = prepare(Folder(root), tmp_path / "cache", given=given)
    assert equal(images(first), images(plain))
    assert equal(images(first), images(plain))
    later = prepare(Folder(root), tmp_path / "cache", given=given)
    assert equal(images(later), images(plain))
    assert images(later)[0].dtype is torch.float32
    assert (plain.transform, plain.sizes) == (later.transform, later.sizes)


@pytest.mark.skipif(not PHOTOS.exists(), reason="the sample photographs are not here")
def test_real_photographs_come_out_the_same(tmp_path: Path) -> None:
    given = replace(GIVEN, image_size=(224, 224))
    data, chosen = Folder(PHOTOS, "*/*.JPEG"), range(0, 500, 50)
    plain = images(prepare(data, None, chosen, given))
    for _ in range(2):
        assert equal(images(prepare(data, tmp_path, chosen, given)), plain)


def test_nothing_is_decoded_twice(root: Path, tmp_path: Path) -> None:
    data = Folder(root)
    prepared = prepare(data, tmp_path / "cache")
    assert data.decoded == []
    images(prepared), images(prepared)
    assert data.decoded == list(range(IMAGES))
    data.decoded.clear()
    again = prepare(data, tmp_path / "cache")
    assert len(data.decoded) == SPOT_CHECKS
    data.decoded.clear()
    images(again)
    assert data.decoded == []


def test_runs_on_different_samples_share_a_file(root: Path, tmp_path: Path) -> None:
    data, plain = Folder(root), images(prepare(Folder(root), None))
    few = prepare(data, tmp_path / "cache", [1, 4, 7])
    images(few)
    everything = prepare(data, tmp_path / "cache")
    data.decoded.clear()
    assert equal(images(everything), plain)
    assert data.decoded == [index for index in range(IMAGES) if index not in (1, 4, 7)]
    assert f"3 of {IMAGES} there" in str(everything.note)


def test_the_file_is_an_array_of_pixels(root: Path, tmp_path: Path) -> None:
    images(prepare(Folder(root), tmp_path))
    shape = (IMAGES, 3, 32, 40)
    pixels = np.memmap(cache_file(tmp_path), np.uint8, mode="r", shape=shape)
    crop = build_transform(GIVEN).crop
    for index in range(IMAGES):
        assert torch.equal(torch.from_numpy(pixels[index].copy()), crop(Folder(root).image(index)))


def test_the_note_tells_where_and_how_many(root: Path, tmp_path: Path) -> None:
    first = prepare(Folder(root), tmp_path, range(5))
    where = cache_file(tmp_path)
    assert first.note == f"Decoded images are kept in {where} (0.0 MB, 0 of 5 there)."
    images(first)
    again = prepare(Folder(root), tmp_path, range(5))
    assert again.note == f"Decoded images are kept in {where} (0.0 MB, 5 of 5 there)."
    assert prepare(Folder(root), None).note is None


@pytest.mark.parametrize(
    ("size", "words"), [(75_264_000, "75.3 MB"), (7_526_400_000, "7.5 GB"), (0, "0.0 MB")]
)
def test_sizes_are_said_in_words(size: int, words: str) -> None:
    assert in_words(size) == words


def test_a_data_set_in_memory_is_not_kept(root: Path, tmp_path: Path) -> None:
    class Held(Folder):
        """In memory, as it were."""

        embedded = True

    prepared = prepare(Held(root), tmp_path / "cache")
    assert equal(images(prepared), images(prepare(Folder(root), None)))
    assert not (tmp_path / "cache").exists()
    assert prepared.note == (
        f"The images of 'folder' are in memory: none are kept in {tmp_path / 'cache'}."
    )


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": (40, 32)},
        {"interpolation": "bilinear"},
        {"crop_pct": 0.8},
        {"crop_mode": "squash"},
        {"crop_mode": "border"},
    ],
    ids=str,
)
def test_another_crop_has_another_file(
    root: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    images(prepare(Folder(root), tmp_path / "cache"))
    given = replace(GIVEN, **change)  # type: ignore[arg-type]
    other = prepare(Folder(root), tmp_path / "cache", given=given)
    assert equal(images(other), images(prepare(Folder(root), None, given=given)))
    assert len(list((tmp_path / "cache").glob("*.uint8"))) == 2


@pytest.mark.parametrize(("crop_mode", "files"), [("center", 1), ("squash", 1), ("border", 2)])
def test_the_mean_matters_only_for_borders(
    root: Path, tmp_path: Path, crop_mode: str, files: int
) -> None:
    for mean in ((0.5, 0.4, 0.3), (0.1, 0.2, 0.3)):
        given = replace(GIVEN, crop_mode=crop_mode, mean=mean)
        plain = images(prepare(Folder(root), None, given=given))
        assert equal(images(prepare(Folder(root), tmp_path / "cache", given=given)), plain)
    assert len(list((tmp_path / "cache").glob("*.uint8"))) == files


def test_a_changed_image_has_another_file(root: Path, tmp_path: Path) -> None:
    images(prepare(Folder(root), tmp_path / "cache"))
    Image.new("RGB", (60, 60), (9, 99, 199)).save(root / "00003.jpg")
    changed = images(prepare(Folder(root), tmp_path / "cache"))
    assert equal(changed, images(prepare(Folder(root), None)))
    assert len(list((tmp_path / "cache").glob("*.uint8"))) == 2


def test_a_copy_of_the_images_elsewhere_has_the_same_file(root: Path, tmp_path: Path) -> None:
    images(prepare(Folder(root), tmp_path / "cache"))
    os.rename(root, tmp_path / "moved")
    moved = prepare(Folder(tmp_path / "moved"), tmp_path / "cache")
    assert f"{IMAGES} of {IMAGES} there" in str(moved.note)


def test_other_images_with_as_many_bytes_have_another_file(tmp_path: Path) -> None:
    root, other = tmp_path / "images", tmp_path / "other"
    for folder, seed in ((root, 0), (other, 1)):
        for path in sorted(draw(folder, seed=seed).iterdir()):
            Image.open(path).save(path.with_suffix(".bmp"))
    sizes = [[path.stat().st_size for path in sorted(f.glob("*.bmp"))] for f in (root, other)]
    assert sizes[0] == sizes[1]
    first, second = (images(prepare(Folder(f, "*.bmp"), tmp_path / "cache")) for f in (root, other))
    assert not equal(first, second)
    assert equal(second, images(prepare(Folder(other, "*.bmp"), None)))
    assert len(list((tmp_path / "cache").glob("*.uint8"))) == 2


def test_a_data_set_that_does_not_tell_its_content_is_looked_at(root: Path, tmp_path: Path) -> None:
    class Silent(Folder):
        """Says of no image what file it is in."""

        def content(self, index: int) -> None:
            return None

    images(prepare(Silent(root), tmp_path / "cache"))
    Image.new("RGB", (60, 60), (9, 99, 199)).save(root / "00003.jpg")
    assert equal(
        images(prepare(Silent(root), tmp_path / "cache")), images(prepare(Silent(root), None))
    )
    assert len(list((tmp_path / "cache").glob("*.uint8"))) == 2


def test_other_images_that_are_said_to_be_the_same_are_noticed(root: Path, tmp_path: Path) -> None:
    images(prepare(Careless(root), tmp_path / "cache"))
    draw(root, seed=1)
    other = prepare(Careless(root), tmp_path / "cache")
    assert str(other.note).endswith("The file found there holds other images and is built anew.")
    assert equal(images(other), images(prepare(Careless(root), None)))


def test_images_that_are_not_uint8_are_refused(root: Path, tmp_path: Path) -> None:
    class Floats(Folder):
        """Floating-point pixels."""

        def image(self, index: int) -> Tensor:
            return super().image(index).float()

    with pytest.raises(KeeprateError) as raised:
        images(prepare(Floats(root), tmp_path / "cache"))
    assert str(raised.value) == (
        "Data set 'folder' gives images that are not (3, H, W) uint8: leave --cache-decoded out."
    )


def test_other_software_has_another_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Contents.of(Folder(root), GIVEN)
    assert before.key == Contents.of(Folder(root), GIVEN).key
    monkeypatch.setattr("torchvision.__version__", "0.1")
    assert Contents.of(Folder(root), GIVEN).key != before.key
