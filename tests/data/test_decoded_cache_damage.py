"""Whatever happens to a cache of decoded images, and however many fill it, the pixels are right."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from image_folder_factory import (
    CROP_BYTES,
    IMAGES,
    Folder,
    cache_file,
    draw,
    equal,
    images,
    item,
    prepare,
)
from keeprate.data.image_cache import SPOT_CHECKS
from keeprate.data.image_cache_file import CropFile
from keeprate.errors import KeeprateError
from paths import SUPPORT

pytestmark = pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")


def damage(cache: Path, index: int) -> None:
    """Change a pixel of a crop."""
    with cache_file(cache).open("r+b") as file:
        file.seek(index * CROP_BYTES + 100)
        before = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([before[0] ^ 1]))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def of_someone_else(path: Path) -> None:
    path.write_bytes(np.random.RandomState(0).bytes(path.stat().st_size))


def undescribed(path: Path) -> None:
    path.with_suffix(".json").unlink()


def test_a_damaged_crop_is_decoded_again_with_a_warning(root: Path, tmp_path: Path) -> None:
    data, plain = Folder(root), images(prepare(Folder(root), None))
    images(prepare(data, tmp_path / "cache"))
    damage(tmp_path / "cache", 5)
    prepared = prepare(data, tmp_path / "cache")
    data.decoded.clear()
    with pytest.warns(UserWarning, match=r"\.uint8 holds a damaged image, which is decoded again"):
        assert equal(images(prepared), plain)
    assert data.decoded == [5]
    assert equal(images(prepared), plain)
    assert data.decoded == [5]


def test_a_crop_in_the_place_of_another_is_damaged(root: Path, tmp_path: Path) -> None:
    plain = images(prepare(Folder(root), None))
    images(prepare(Folder(root), tmp_path / "cache"))
    path = cache_file(tmp_path / "cache")
    whole = bytearray(path.read_bytes())
    sums = len(whole) - 8 * IMAGES
    whole[5 * CROP_BYTES : 6 * CROP_BYTES] = whole[:CROP_BYTES]
    whole[sums + 40 : sums + 48] = whole[sums : sums + 8]
    path.write_bytes(whole)
    prepared = prepare(Folder(root), tmp_path / "cache")
    with pytest.warns(UserWarning, match="holds a damaged image"):
        assert equal(images(prepared), plain)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (cut_short, "is not whole"),
        (emptied, "is not whole"),
        (of_someone_else, "is damaged"),
        (undescribed, "lacks its description"),
    ],
)
def test_a_file_that_cannot_be_used_is_built_anew(
    root: Path, tmp_path: Path, harm: Callable[[Path], None], reason: str
) -> None:
    plain = images(prepare(Folder(root), None))
    images(prepare(Folder(root), tmp_path / "cache"))
    harm(cache_file(tmp_path / "cache"))
    anew = prepare(Folder(root), tmp_path / "cache")
    assert f"0 of {IMAGES} there). The file found there {reason} and is built anew." in str(
        anew.note
    )
    assert equal(images(anew), plain)
    again = prepare(Folder(root), tmp_path / "cache")
    assert str(again.note).endswith(f"{IMAGES} of {IMAGES} there).")
    assert equal(images(again), plain)


def test_a_reader_goes_over_to_the_file_that_another_process_puts_in_place(
    root: Path, tmp_path: Path
) -> None:
    data = Folder(root)
    early = prepare(data, tmp_path / "cache")
    cache_file(tmp_path / "cache").unlink()
    images(prepare(data, tmp_path / "cache"))
    data.decoded.clear()
    images(early)
    assert data.decoded == []


def test_a_reader_keeps_the_crops_of_a_file_that_another_process_replaces(
    root: Path, tmp_path: Path
) -> None:
    data, plain = Folder(root), images(prepare(Folder(root), None))
    early = prepare(data, tmp_path / "cache")
    images(early)
    undescribed(cache_file(tmp_path / "cache"))
    assert "is built anew" in str(prepare(data, tmp_path / "cache").note)
    data.decoded.clear()
    assert equal(images(early), plain)
    assert data.decoded == []


def test_a_file_removed_during_a_pass_costs_only_time(root: Path, tmp_path: Path) -> None:
    prepared = prepare(Folder(root), tmp_path / "cache")
    cache_file(tmp_path / "cache").unlink()
    with pytest.warns(UserWarning, match="takes no more images .No such file or directory."):
        assert equal(images(prepared), images(prepare(Folder(root), None)))


def test_a_cache_cut_short_after_it_was_opened_is_an_error_of_one_line(
    root: Path, tmp_path: Path
) -> None:
    images(prepare(Folder(root), tmp_path / "cache"))
    elsewhere = pickle.loads(pickle.dumps(prepare(Folder(root), tmp_path / "cache").samples))
    path = cache_file(tmp_path / "cache")
    cut_short(path)
    with pytest.raises(KeeprateError) as raised:
        item(elsewhere, 0)
    assert str(raised.value) == (
        f"Cannot read {path}: it is cut short. Remove the file, and it is built anew."
    )


def test_workers_get_no_pixels_to_unpickle(root: Path, tmp_path: Path) -> None:
    prepared = prepare(Folder(root), tmp_path / "cache")
    plain = images(prepare(Folder(root), None))
    assert equal(images(prepared), plain)
    pickled = pickle.dumps(prepared.samples)
    assert len(pickled) < 4000
    again = pickle.loads(pickled)
    again.data.decoded.clear()
    assert equal([item(again, position) for position in range(IMAGES)], plain)
    assert again.data.decoded == []


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_fill_and_read_one_file(root: Path, tmp_path: Path, method: str) -> None:
    plain = torch.stack(images(prepare(Folder(root), None)))
    data = Folder(root)
    samples = prepare(data, tmp_path / "cache").samples
    for _ in range(2):
        loader = DataLoader(samples, batch_size=5, num_workers=2, multiprocessing_context=method)
        assert torch.equal(torch.cat([batch[0] for batch in loader]), plain)
    assert f"{IMAGES} of {IMAGES} there" in str(prepare(data, tmp_path / "cache").note)
    data.decoded.clear()
    assert equal(images(prepare(data, tmp_path / "cache")), list(plain))
    assert len(data.decoded) == SPOT_CHECKS


BUILDS = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from torch.utils.data import DataLoader
warnings.simplefilter("error")
warnings.filterwarnings("ignore", message="The image decoding")
from image_folder_factory import Folder, prepare
samples = prepare(Folder(Path(sys.argv[2])), Path(sys.argv[3])).samples
print("open", flush=True)
for batch in DataLoader(samples, batch_size=4, num_workers=int(sys.argv[4])):
    print(len(batch[0]), flush=True)
"""


def start(root: Path, cache: Path, workers: int) -> subprocess.Popen[str]:
    here = str(SUPPORT)
    command = [sys.executable, "-c", BUILDS, here, str(root), str(cache), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.system
def test_two_processes_with_workers_build_one_cache(tmp_path: Path) -> None:
    root = draw(tmp_path / "many", images=120)
    builders = [start(root, tmp_path / "cache", workers=2) for _ in range(2)]
    for builder in builders:
        assert builder.communicate(timeout=120)[0] == "open\n" + 30 * "4\n"
        assert builder.returncode == 0
    data = Folder(root)
    whole = prepare(data, tmp_path / "cache")
    assert "120 of 120 there" in str(whole.note)
    data.decoded.clear()
    assert equal(images(whole), images(prepare(Folder(root), None)))
    assert data.decoded == []
    assert list((tmp_path / "cache").glob(".*")) == []


def test_a_crop_that_another_process_writes_meanwhile_is_not_damaged(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, other = Folder(root), prepare(Folder(root), tmp_path / "cache")
    prepared = prepare(data, tmp_path / "cache")
    look = CropFile.read

    def overtaken(self: CropFile, index: int) -> Tensor | None:
        found = look(self, index)
        with monkeypatch.context() as undisturbed:
            undisturbed.setattr(CropFile, "read", look)
            images(other)
        return found

    monkeypatch.setattr(CropFile, "read", overtaken)
    assert equal(images(prepared), images(prepare(Folder(root), None)))


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.system
def test_a_build_that_was_killed_goes_on(tmp_path: Path) -> None:
    root = draw(tmp_path / "many", images=400)
    with start(root, tmp_path / "cache", workers=1) as builder:
        assert builder.stdout is not None
        builder.stdout.readline()
        builder.stdout.readline()
        time.sleep(0.01)
        os.killpg(builder.pid, signal.SIGKILL)
    data = Folder(root)
    prepared = prepare(data, tmp_path / "cache")
    data.decoded.clear()
    assert equal(images(prepared), images(prepare(Folder(root), None)))
    assert 0 < len(data.decoded) < 400
    assert "400 of 400 there" in str(prepare(data, tmp_path / "cache").note)


def test_a_crop_without_its_checksum_is_not_there(root: Path, tmp_path: Path) -> None:
    data = Folder(root)
    prepared = prepare(data, tmp_path / "cache")
    with cache_file(tmp_path / "cache").open("r+b") as file:
        file.write(bytes(range(100)))
    assert equal(images(prepared), images(prepare(Folder(root), None)))
    assert data.decoded == list(range(IMAGES))
