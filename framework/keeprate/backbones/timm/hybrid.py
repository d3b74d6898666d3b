"""timm's VisionTransformer on convolutions: R26 and R50 hybrids, MobileCLIP-B, ViTamin."""

from __future__ import annotations

import math
from typing import ClassVar

from timm.layers.hybrid_embed import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from ..convolution_macs import Embedding, embedding_of
from ..patch_grid import Grid, whole
from .vit import TimmViT, vit_refusal


class TimmHybrid(TimmViT):
    """Vision Transformers of timm whose patches are the features of a convolutional network.

    The network runs as a whole, before the first block: only tokens are reduced.
    """

    name: ClassVar[str] = "timm-hybrid"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        # by image size: the count runs the whole network on shapes, and every cost asks for it
        self._embeddings: dict[tuple[int, int], Embedding] = {}

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not VisionTransformer or type(model.patch_embed) is not HybridEmbed:
            return ""
        return vit_refusal(model, HybridEmbed)

    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return how many patches the network makes of an image."""
        return self._embedding(image_size).numbers // self.channels

    def grid(self, image_size: tuple[int, int]) -> Grid | None:
        """Return the rows and columns of patches, in the proportions of the image.

        None where no such grid has as many patches as the network makes.
        """
        height, width = image_size
        rows = math.isqrt(self.num_patches(image_size) * height // width)
        columns = rows * width // height
        if rows * columns != self.num_patches(image_size):
            return None
        return whole((rows, columns), image_size)

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the cost of the network and of the projection after it."""
        return self._embedding(image_size).macs

    def _embedding(self, image_size: tuple[int, int]) -> Embedding:
        if image_size not in self._embeddings:
            self._embeddings[image_size] = embedding_of(self.vit.patch_embed, image_size)
        return self._embeddings[image_size]
