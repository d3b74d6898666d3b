"""Files that are no whole image are found before anything runs, and no whole one is suspected."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keeprate import KeeprateError
from keeprate.data import image_problems as module
from keeprate.data.codec_warnings import codec_warnings
from keeprate.data.image_problems import image_problems
from keeprate.data.images import decode

PHOTO = Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 48, 3)).astype(np.uint8))


def problem_of(path: Path) -> str | None:
    (problem,) = image_problems([path])
    return problem


def saved(path: Path) -> bytes:
    PHOTO.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_a_whole_image_has_no_problem(suffix: str, tmp_path: Path) -> None:
    saved(tmp_path / f"whole.{suffix}")
    assert problem_of(tmp_path / f"whole.{suffix}") is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_a_truncated_image_is_found(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{suffix}"
    data = saved(path)
    path.write_bytes(data[: int(len(data) * share)])
    assert problem_of(path)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "padded.jpg"
    path.write_bytes(saved(path) + b"\0" * 100)
    assert problem_of(path) is None


def test_the_problem_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>404 Not Found</html>")
    (tmp_path / "folder.jpg").mkdir()
    assert problem_of(tmp_path / "empty.jpg") == "empty file"
    assert problem_of(tmp_path / "page.jpg") == "not an image"
    assert problem_of(tmp_path / "folder.jpg") == "Is a directory"
    assert problem_of(tmp_path / "gone.jpg") == "No such file or directory"


def test_a_png_damaged_in_the_middle_is_found_and_never_decoded(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    content = bytearray(path.read_bytes())
    content[8000:10000] = bytes(2000)
    path.write_bytes(content)
    assert problem_of(path)
    with pytest.raises(KeeprateError, match="Cannot read the image"):
        decode(path)


def damaged_jpeg(path: Path, *, progressive: bool = False) -> Path:
    """A JPEG whose header and end are as they were, and some of whose data are lost."""
    PHOTO.save(path, progressive=progressive)
    data = path.read_bytes()
    middle = len(data) * 2 // 3
    path.write_bytes(data[:middle] + data[middle + 300 :])
    return path


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_damaged_inside_is_named_and_nothing_is_printed(
    progressive: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = damaged_jpeg(tmp_path / "image.jpg", progressive=progressive)
    problem = problem_of(path)
    assert problem
    assert problem.startswith("Corrupt JPEG data: ")
    with pytest.raises(KeeprateError) as raised:
        decode(path)
    assert str(raised.value) == f"Cannot read the image '{path}': {problem}."
    assert capfd.readouterr() == ("", "")


def test_only_the_damaged_one_of_many_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TOGETHER", 3)
    paths = [tmp_path / f"{index}.jpg" for index in range(8)]
    for path in paths:
        saved(path)
    damaged_jpeg(paths[4])
    found = image_problems(paths)
    assert [index for index, problem in enumerate(found) if problem] == [4]


def test_damage_in_a_cmyk_jpeg_is_found(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    PHOTO.convert("CMYK").save(path)
    data = path.read_bytes()
    path.write_bytes(data[:-400] + data[-100:])
    assert problem_of(path)


@pytest.mark.parametrize("compression", ["group4", "tiff_lzw"])
def test_a_tiff_damaged_inside_is_named_and_nothing_is_printed(
    compression: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "image.tif"
    PHOTO.convert("1").save(path, compression=compression)
    assert problem_of(path) is None
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\xff" * 40 + data[140:])
    assert problem_of(path)
    with pytest.raises(KeeprateError, match="Cannot read the image"):
        decode(path)
    assert capfd.readouterr() == ("", "")


def test_what_others_write_to_standard_error_meanwhile_is_passed_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with codec_warnings() as heard:
        os.write(2, b"Epoch 1\nCorrupt JPEG data: bad Huffman code\nhalf a li")
    assert heard.damage == "Corrupt JPEG data: bad Huffman code"
    assert capfd.readouterr().err == "Epoch 1\nhalf a li"


@pytest.mark.parametrize(
    "line",
    [
        "Corrupt JPEG data: 2 extraneous bytes before marker 0xe1",
        "Invalid SOS parameters for sequential JPEG",
        "Warning: unknown JFIF revision number 3.01",
    ],
)
def test_what_does_not_concern_the_pixels_is_no_damage(
    line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with codec_warnings() as heard:
        os.write(2, line.encode() + b"\n")
    assert heard.damage == ""
    assert capfd.readouterr().err == ""


def test_a_jpeg_with_bytes_between_its_segments_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    data = saved(path)
    after_app0 = 4 + struct.unpack(">H", data[4:6])[0]
    path.write_bytes(data[:after_app0] + b"\0\0" + data[after_app0:])
    assert problem_of(path) is None


def test_grey_values_without_a_known_range_are_found(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.fromarray(np.full((4, 4), 200, np.float32)).save(path)
    assert problem_of(path) == (
        "floating-point grey values that are not all from 0 to 1: save it with 8 or 16 bits"
    )
