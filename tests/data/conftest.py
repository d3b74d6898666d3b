"""Fixtures of the tests of the cache of decoded images."""

from __future__ import annotations

from pathlib import Path

import pytest

from image_folder_factory import draw


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of photographs in class folders."""
    return draw(tmp_path / "images")
