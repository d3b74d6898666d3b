"""Every readable image file becomes (3, H, W) uint8 RGB, with the pixels that timm reads."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import ImageDataset

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
    "plain.webp": RGB,
    "plain.gif": RGB.convert("P"),
    "plain.bmp": RGB,
    "plain.tif": RGB,
    "one-pixel.png": RGB.crop((0, 0, 1, 1)),
    "line.png": RGB.resize((3000, 1)),
}


def read_by_timm(path: Path) -> torch.Tensor:
    with path.open("rb") as file:
        # a reader of timm gives open files; its own look for .jpg, .jpeg and .png alone
        image, _ = ImageDataset("", reader=[(file, 0)])[0]
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_those_of_pillow(name: str, tmp_path: Path) -> None:
    CASES[name].save(tmp_path / name)
    decoded = decode(tmp_path / name)
    assert decoded.dtype == torch.uint8
    assert torch.equal(decoded, read_by_timm(tmp_path / name))


HALF = Image.fromarray(np.arange(32 * 48, dtype=np.uint16).astype(np.uint8).reshape(32, 48))
SEE_THROUGH = RGB.copy()
SEE_THROUGH.putalpha(HALF)
MOVING: dict[str, Any] = {"save_all": True, "append_images": [RGB.rotate(180)]}
TRANSPARENT: dict[str, tuple[Image.Image, dict[str, Any]]] = {
    "colours.png": (SEE_THROUGH, {}),
    "colours.webp": (SEE_THROUGH, {"lossless": True}),
    "colours.tif": (SEE_THROUGH, {}),
    "grey.png": (SEE_THROUGH.convert("LA"), {}),
    "one-colour.png": (RGB, {"transparency": RGB.getpixel((0, 0))}),
    "one-grey.png": (RGB.convert("L"), {"transparency": 40}),
    "palette.png": (RGB.quantize(16), {"transparency": 3}),
    "palette-in-part.png": (RGB.quantize(16), {"transparency": bytes(range(0, 256, 16))}),
    "palette.gif": (RGB.quantize(16), {"transparency": 3}),
    "moving.gif": (RGB.quantize(16), {"transparency": 3, "disposal": 2, **MOVING}),
    "moving.webp": (SEE_THROUGH, MOVING),
    "moving.png": (SEE_THROUGH, MOVING),
    "pages.tif": (RGB, MOVING),
}


# it is Pillow's, as timm reads the file
@pytest.mark.filterwarnings("ignore:Palette images with Transparency:UserWarning")
@pytest.mark.parametrize("name", TRANSPARENT)
def test_transparent_and_moving_images_are_as_timm_reads_them(name: str, tmp_path: Path) -> None:
    image, options = TRANSPARENT[name]
    image.save(tmp_path / name, **options)
    assert torch.equal(decode(tmp_path / name), read_by_timm(tmp_path / name))


DEEP = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)
UPPER_BYTE = np.arange(256, dtype=np.uint8).reshape(16, 16)


def tiff(values: bytes, *, bits: int, sample_format: int = 1, photometric: int = 1) -> bytes:
    """A TIFF of one row of grey values, which Pillow would not write; all tags are short."""
    width = len(values) * 8 // bits
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 1}
    tags |= {279: len(values), 339: sample_format}
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, each, 0) for tag, each in tags.items())
    head = b"II*\0" + struct.pack("<I", 8 + len(values))
    return head + values + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("deep.png", Image.fromarray(DEEP)),
        ("little.tif", Image.fromarray(DEEP)),
        ("big.tif", Image.fromarray(DEEP.astype(">u2"))),
        ("fractions.tif", Image.fromarray((UPPER_BYTE / 255).astype(np.float32))),
    ],
)
def test_grey_of_more_than_8_bits_keeps_the_upper_byte(
    name: str, image: Image.Image, tmp_path: Path
) -> None:
    image.save(tmp_path / name)
    expected = torch.from_numpy(UPPER_BYTE).expand(3, -1, -1)
    assert torch.equal(decode(tmp_path / name), expected)


@pytest.mark.parametrize(
    ("content", "grey"),
    [
        (b"P5 4 1 65535\n\0\0\0\xff\x80\1\xff\xff", [0, 0, 128, 255]),
        (b"P5 3 1 1023\n\0\0\2\0\3\xff", [0, 128, 255]),
        (tiff(b"\0\x0f\xff\x80\x01\0", bits=12), [0, 255, 128, 16]),
    ],
    ids=["16 bits", "10 bits", "12 bits"],
)
def test_the_bits_that_a_file_says_it_has_count(
    content: bytes, grey: list[int], tmp_path: Path
) -> None:
    (tmp_path / "deep.tif").write_bytes(content)
    assert decode(tmp_path / "deep.tif").tolist() == [[grey]] * 3


TWO = np.array([1, 2])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tiff(TWO.astype("<u4").tobytes(), bits=32), "32 bits or with a sign"),
        (tiff(TWO.astype("<i2").tobytes(), bits=16, sample_format=2), "32 bits or with a sign"),
        (tiff(TWO.astype("<u2").tobytes(), bits=16, photometric=0), "0 is white"),
        (tiff(TWO.astype("<f4").tobytes(), bits=32, sample_format=3), "not all from 0 to 1"),
        (tiff((TWO * np.nan).astype("<f4").tobytes(), bits=32, sample_format=3), "from 0 to 1"),
    ],
    ids=["32 bits", "signed", "white is zero", "not fractions", "not numbers"],
)
def test_grey_values_of_an_unknown_range_are_refused(
    content: bytes, what: str, tmp_path: Path
) -> None:
    (tmp_path / "odd.tif").write_bytes(content)
    with pytest.raises(KeeprateError, match=f"odd.tif': .*{what}.*: save it with"):
        decode(tmp_path / "odd.tif")


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
    RGB.save(tmp_path / "plain.jpg")
    expected = decode(tmp_path / "plain.jpg")
    monkeypatch.delattr("torchvision.io.decode_image")
    assert torch.equal(decode(tmp_path / "plain.jpg"), expected)
