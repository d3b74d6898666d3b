"""Fixtures of the tests of methods."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from references.tiny import images_for, tiny_vit


@pytest.fixture
def vit() -> nn.Module:
    """A tiny ViT of timm in double precision."""
    return tiny_vit().double()


@pytest.fixture
def vit_images(vit: nn.Module) -> Tensor:
    """Two images for `vit`."""
    return images_for(vit, batch=2)
