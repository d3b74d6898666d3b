"""Files that are no whole image are found by a quick look, and no whole image is suspected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from keeprate import KeeprateError
from keeprate.data.images import decode, header_problem

PHOTO = Image.fromarray(np.random.RandomState(0).randint(0, 256, (64, 48, 3)).astype(np.uint8))


def saved(path: Path) -> bytes:
    PHOTO.save(path)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tif"])
def test_a_whole_image_has_no_problem(suffix: str, tmp_path: Path) -> None:
    saved(tmp_path / f"whole.{suffix}")
    assert header_problem(tmp_path / f"whole.{suffix}") is None


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95])
def test_a_truncated_image_is_found(suffix: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / f"cut.{suffix}"
    data = saved(path)
    path.write_bytes(data[: int(len(data) * share)])
    assert header_problem(path)


def test_bytes_after_the_end_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "padded.jpg"
    path.write_bytes(saved(path) + b"\0" * 100)
    assert header_problem(path) is None


def test_the_problem_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "page.jpg").write_text("<html>404 Not Found</html>")
    (tmp_path / "folder.jpg").mkdir()
    assert header_problem(tmp_path / "empty.jpg") == "empty file"
    assert header_problem(tmp_path / "page.jpg") == "not an image"
    assert header_problem(tmp_path / "folder.jpg") == "Is a directory"
    assert header_problem(tmp_path / "gone.jpg") == "No such file or directory"


def test_a_png_damaged_in_the_middle_is_found_and_never_decoded(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    content = bytearray(path.read_bytes())
    content[8000:10000] = bytes(2000)
    path.write_bytes(content)
    assert header_problem(path)
    with pytest.raises(KeeprateError, match="Cannot read the image"):
        decode(path)
