"""Models that name ImageNet's classes in English are recognised, in the right order alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from timm.data.imagenet_info import ImageNetInfo

from keeprate import KeeprateError
from keeprate_datasets.imagenet import ImageNet

INFO: Any = ImageNetInfo()


@pytest.fixture
def photographs(tmp_path: Path) -> ImageNet:
    folder = tmp_path / "n01443537"
    folder.mkdir()
    (folder / "goldfish.jpg").write_bytes(b"")
    return ImageNet(tmp_path)


def test_english_names_in_order_are_recognised_whatever_their_case(photographs: ImageNet) -> None:
    names = [name.title() for name in INFO.label_descriptions()]
    photographs.bind(1000, ["another spelling", *names[1:]])
    assert [sample.label for sample in photographs.samples()] == [1]


def test_another_order_is_refused(photographs: ImageNet) -> None:
    names = INFO.label_descriptions()
    for order in (sorted(names), names[1:] + names[:1], [f"class {i}" for i in range(1000)]):
        with pytest.raises(KeeprateError, match="names its 1000 classes, but not by the WordNet"):
            photographs.bind(1000, order)
