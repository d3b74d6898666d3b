"""A cache of decoded images on a disk that is full, or that can only be read."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from image_folder_factory import IMAGES, Folder, cache_file, draw, equal, images, prepare
from keeprate.errors import KeeprateError

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="needs a tmpfs")
on_posix = pytest.mark.skipif(os.name != "posix", reason="needs permissions")


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount a file system for the time of a test, which is skipped where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0 or subprocess.run(["mount", *options, str(folder)]).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def small_disk(folder: Path, size: str) -> Any:
    return mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs")


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write to a folder: for root, too, a file system that is read-only."""
    with ExitStack() as stack:
        if os.geteuid() == 0:
            stack.enter_context(mounted(folder, "--bind", str(folder)))
            again = ["mount", "-o", "remount,bind,ro", str(folder)]
            subprocess.run(again, check=True)
        else:
            folder.chmod(0o555)
            stack.callback(folder.chmod, 0o755)
            for path in folder.iterdir():
                path.chmod(0o444)
        yield


@on_linux
def test_a_full_disk_is_an_error_before_anything_is_decoded(root: Path, tmp_path: Path) -> None:
    data, disk = Folder(root), tmp_path / "disk"
    with small_disk(disk, "100k"):
        with pytest.raises(KeeprateError) as raised:
            prepare(Folder(draw(tmp_path / "many", images=100)), disk)
        images(prepare(data, disk / "few", range(4)))
    assert str(raised.value) == (
        f"Cannot write to {disk}: decoded images need 0.4 MB, 0.1 MB are free. "
        "Free some space there, or choose another folder."
    )
    assert data.decoded == [0, 1, 2, 3]


@on_linux
def test_the_space_of_all_crops_is_taken_before_the_pass(root: Path, tmp_path: Path) -> None:
    disk, plain = tmp_path / "disk", images(prepare(Folder(root), None))
    with small_disk(disk, "100k"):
        prepared = prepare(Folder(root), disk)
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(bytes(100_000))
        assert equal(images(prepared), plain)
        again = prepare(Folder(root), disk)
        assert f"{IMAGES} of {IMAGES} there" in str(again.note)
        assert equal(images(again), plain)


@on_linux
def test_an_unfinished_cache_needs_only_the_space_it_has_not_taken(
    root: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "64k"):
        images(prepare(Folder(root), disk, range(6)))
        prepare(Folder(root), disk)
        images(prepare(Folder(root), disk))
        assert f"{IMAGES} of {IMAGES} there" in str(prepare(Folder(root), disk).note)


def test_a_full_disk_without_reserving_costs_only_time(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(Folder(root), tmp_path / "cache")

    def full(self: object, index: int, crop: Tensor) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("keeprate.data.image_cache_file.CropFile.write", full)
    with pytest.warns(UserWarning, match="takes no more images .No space left on device."):
        assert equal(images(prepared), images(prepare(Folder(root), None)))


@on_posix
def test_a_folder_that_cannot_be_written_to_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with read_only(tmp_path / "cache"), pytest.raises(KeeprateError) as raised:
        prepare(Folder(root), tmp_path / "cache")
    assert str(raised.value).startswith(f"Cannot write to {tmp_path / 'cache'}: ")
    assert str(raised.value).endswith(". Choose a folder you may write to.")


def test_a_file_in_the_place_of_the_folder_is_refused(root: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("something else")
    with pytest.raises(KeeprateError, match=r"A file has the name of the folder: choose another\."):
        prepare(Folder(root), tmp_path / "cache")


@on_posix
def test_a_cache_that_can_only_be_read_is_used(root: Path, tmp_path: Path) -> None:
    plain, data = images(prepare(Folder(root), None)), Folder(root)
    images(prepare(data, tmp_path / "cache", range(9)))
    before = cache_file(tmp_path / "cache").read_bytes()
    with read_only(tmp_path / "cache"):
        prepared = prepare(data, tmp_path / "cache")
        data.decoded.clear()
        assert equal(images(prepared), plain)
        assert data.decoded == [9, 10, 11]
    assert cache_file(tmp_path / "cache").read_bytes() == before
    assert str(prepared.note).endswith(
        "9 of 12 there). It can only be read: the others are decoded every time."
    )


@on_posix
def test_a_damaged_cache_that_can_only_be_read_is_refused(root: Path, tmp_path: Path) -> None:
    images(prepare(Folder(root), tmp_path / "cache"))
    os.truncate(cache_file(tmp_path / "cache"), 1000)
    with read_only(tmp_path / "cache"), pytest.raises(KeeprateError, match="Cannot write to "):
        prepare(Folder(root), tmp_path / "cache")
