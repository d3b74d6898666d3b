"""The inputs of the checks: tiny models with random weights, and random images."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

# few blocks and 25 patches: a check takes milliseconds, and a stage still has tokens to choose from
BLOCKS = 4
PIXELS = 20
PATCH = 4


KINDS: Mapping[str, str] = {
    "class token": "vit_tiny_patch16_224",
    "average pooling": "vit_base_patch16_siglip_gap_224",
    "registers": "vit_small_patch14_reg4_dinov2",
    "distillation token": "deit_tiny_distilled_patch16_224",
    "rotary embedding": "vit_small_patch16_rope_224",
    "rotary embedding of each head": "vit_small_patch16_rope_mixed_224",
    "average pooling, class token": "beit3_base_patch16_224",
    "attention pooling": "vit_base_patch16_siglip_224",
    "table of relative positions": "beit_base_patch16_224",
    "relative positions by an MLP": "vit_relpos_small_patch16_224",
}
"""Kinds of model, by what distinguishes them, and timm's name of one model of each kind."""

MAIN_KINDS = ("class token", "average pooling", "registers", "rotary embedding")
"""Kinds that together cover 0, 1 and 5 prefix tokens, and positions that follow the tokens."""


@dataclass(frozen=True)
class Case:
    """One input: a kind of model, a schedule, and a batch of random images.

    `kind` is a key of `KINDS`; `size` is (height, width) in pixels, 4 x 4 of which make a patch;
    `dtype` names a type of torch; `seed` is that of the images. With `alike` all patches of an
    image are the same, and their tokens are equal up to rounding errors of the model; the checks
    then give methods tokens that are equal to the last bit.
    """

    kind: str = "class token"
    schedule: str | None = None
    batch: int = 3
    size: tuple[int, int] = (PIXELS, PIXELS)
    dtype: str = "float64"
    seed: int = 1
    alike: bool = False

    @property
    def patches(self) -> int:
        """The number of patch tokens of one image."""
        return (self.size[0] // PATCH) * (self.size[1] // PATCH)

    def model(self) -> nn.Module:
        """Return the model in evaluation mode; equal kinds and sizes share one instance."""
        return _model(self.kind, self.size, self.dtype, self.alike)

    def images(self) -> Tensor:
        """Return the images (B, 3, H, W); an image does not depend on the size of its batch."""
        shape = (3, *self.size)
        single_images = [self._image(shape, number) for number in range(self.batch)]
        images = torch.stack(single_images) if single_images else torch.empty(0, *shape)
        return images.to(getattr(torch, self.dtype))

    def index(self) -> Tensor:
        """Return the images' numbers in a data set (B,) int64; they differ from batch positions."""
        # out of order: a method that takes the position in the batch for the index is caught
        return torch.tensor([50, 3, 17, 4, 0, 99, 12, 31])[: self.batch]

    def _image(self, shape: tuple[int, ...], number: int) -> Tensor:
        if self.alike:
            return torch.full(shape, 0.3 * (number + 1))
        # a seed for each image, so that it is the same in a batch of any size
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        return torch.randn(shape, generator=generator)


@cache
def _model(kind: str, size: tuple[int, int], dtype: str, alike: bool) -> nn.Module:
    # cached: parameters made in inference mode could not take part in the check of gradients
    with torch.inference_mode(False), torch.no_grad():
        model = tiny_vit(KINDS[kind], img_size=size)
        if alike:
            # positions would tell equal patches apart
            model.pos_embed.zero_()  # type: ignore[operator]
        return model.to(getattr(torch, dtype))


def tiny_vit(name: str = "vit_tiny_patch16_224", *, seed: int = 0, **options: object) -> nn.Module:
    """Return a timm model of 25 patches, 3 heads and 4 blocks in which every parameter matters.

    Weights are random and depend on `seed` alone; nothing is downloaded. `options` are those of
    `timm.create_model` and override the small sizes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # timm's import and its models may announce changes
        import timm

        sizes: dict[str, Any] = {"img_size": PIXELS, "patch_size": PATCH, "embed_dim": 24}
        sizes |= {"num_heads": 3, "num_classes": 5, "depth": BLOCKS}
        with torch.random.fork_rng(devices=[]):  # what timm draws is replaced below
            model: nn.Module = timm.create_model(name, **{**sizes, **options}).eval()
    # timm's own values leave biases and layer scales near 0, where a mistake in them would not show
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.25 if parameter.dim() > 1 else 0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
        for block in model.blocks:  # type: ignore[union-attr]
            _sharpen(block.attn)
    return model


def _sharpen(attention: nn.Module) -> None:
    """Make heads differ, so that a filter on their variance has something to filter."""
    qkv, heads = attention.qkv, attention.num_heads
    assert isinstance(qkv, nn.Linear)
    assert isinstance(heads, int)
    width = qkv.in_features // heads
    for head, factor in zip(range(heads), (0.4, 1.0, 3.0), strict=False):
        qkv.weight[head * width : (head + 1) * width] *= factor  # of the queries, which come first
