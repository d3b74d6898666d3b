"""Every readable image file becomes (3, H, W) uint8 RGB, with the pixels that Pillow sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from keeprate.data.images import decode
from keeprate.errors import KeeprateError

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

RGB = Image.fromarray(
    np.kron(
        np.random.RandomState(0).randint(0, 256, (4, 6, 3)).astype(np.uint8),
        np.ones((8, 8, 1), np.uint8),
    )
)
CASES = {
    "plain.jpg": RGB,
    "grey.jpg": RGB.convert("L"),
    "cmyk.jpg": RGB.convert("CMYK"),
    "plain.png": RGB,
    "grey.png": RGB.convert("L"),
    "two-levels.png": RGB.convert("1"),
    "palette.png": RGB.convert("P"),
    "transparent.png": RGB.convert("RGBA"),
    "grey-transparent.png": RGB.convert("LA"),
    "plain.webp": RGB,
    "plain.gif": RGB.convert("P"),
    "plain.bmp": RGB,
    "plain.tif": RGB,
    "one-pixel.png": RGB.crop((0, 0, 1, 1)),
    "line.png": RGB.resize((3000, 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_those_of_pillow(name: str, tmp_path: Path) -> None:
    CASES[name].save(tmp_path / name)
    with Image.open(tmp_path / name) as image:
        expected = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
    decoded = decode(tmp_path / name)
    assert decoded.dtype == torch.uint8
    assert torch.equal(decoded, expected)


def test_16_bit_grey_keeps_the_upper_byte(tmp_path: Path) -> None:
    grey = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "deep.png")
    expected = torch.arange(256, dtype=torch.uint8).reshape(16, 16).expand(3, -1, -1)
    assert torch.equal(decode(tmp_path / "deep.png"), expected)


def test_the_first_image_of_an_animation_is_taken(tmp_path: Path) -> None:
    first, second = RGB.convert("P"), RGB.rotate(180).convert("P")
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    expected = torch.from_numpy(np.array(first.convert("RGB"))).permute(2, 0, 1)
    assert torch.equal(decode(tmp_path / "moving.gif"), expected)


def test_exif_orientation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    RGB.save(tmp_path / "turned.jpg", exif=exif)
    assert decode(tmp_path / "turned.jpg").shape == (3, RGB.height, RGB.width)


@pytest.mark.parametrize("kept", [0, 10, 300])
def test_a_damaged_file_is_named(kept: int, tmp_path: Path) -> None:
    RGB.save(tmp_path / "whole.jpg")
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes((tmp_path / "whole.jpg").read_bytes()[:kept])
    with pytest.raises(KeeprateError, match=r"Cannot read the image '.*damaged\.jpg': ") as raised:
        decode(damaged)
    assert "\n" not in str(raised.value)


def test_pillow_decodes_where_torchvision_no_longer_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RGB.save(tmp_path / "plain.png")
    expected = decode(tmp_path / "plain.png")
    monkeypatch.delattr("torchvision.io.decode_image")
    assert torch.equal(decode(tmp_path / "plain.png"), expected)
