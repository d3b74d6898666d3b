"""Fixtures of the tests of reduction."""

from __future__ import annotations

import pytest
from torch import nn

from references.tiny import tiny_vit


@pytest.fixture
def vit() -> nn.Module:
    """A tiny ViT of timm in double precision."""
    return tiny_vit().double()
