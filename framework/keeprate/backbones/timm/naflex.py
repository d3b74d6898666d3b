"""timm's NaFlexVit on images: SigLIP-2 NaFlex, C-RADIO and timm's own, at any size and shape."""

from __future__ import annotations

from typing import ClassVar, cast

from timm.models.naflexvit import NaFlexEmbeds, NaFlexVit
from torch import Tensor, nn

from ...backbone import Inputs
from ...errors import KeeprateError
from ..patch_grid import Grid
from .blocks import TimmStack, blocks_refusal
from .isotropic import class_refusal, shell_refusal


class TimmNaFlex(TimmStack):
    """Vision Transformers of timm's NaFlexVit class, called with images (B, 3, H, W).

    Images may have any size and shape, the same within a batch. Patches that were packed
    beforehand, with their coordinates, are refused.
    """

    name: ClassVar[str] = "timm-naflex"

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.has_class_token = self.vit.embeds.cls_token is not None

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not NaFlexVit:
            inherits = isinstance(model, NaFlexVit)
            return "a subclass of NaFlexVit may compute otherwise" if inherits else ""
        if not hasattr(model, "rope"):
            return "this timm's NaFlexVit is of an early form; timm 1.0.19 has one that is run"
        if model.rope is not None:
            return "rotary embeddings (rope_type) are not supported"
        return (
            class_refusal("the embedding", model.embeds, (NaFlexEmbeds,))
            or blocks_refusal(model.blocks)
            or shell_refusal(model)
        )

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x, _ = self.vit.embeds(images)
        return cast(Tensor, self.vit.norm_pre(x))

    def input_size(self, inputs: Inputs) -> tuple[int, int]:
        """Return the (height, width) in pixels of images.

        Raises KeeprateError for patches in place of images.
        """
        if not isinstance(inputs, Tensor) or inputs.dim() != 4:
            raise KeeprateError(
                "NaFlexVit is reduced on images (B, 3, H, W): patches that come with their "
                "coordinates are not supported."
            )
        return super().input_size(inputs)

    def _patches(self, image_size: tuple[int, int]) -> Grid:
        """Return the rows and columns of patches of an image, after padding where the model pads.

        Raises KeeprateError for an image that the model can neither pad nor cut into patches.
        """
        embeds, (height, width) = self.vit.embeds, self.vit.embeds.patch_size
        left_over = image_size[0] % height or image_size[1] % width
        if left_over and embeds.is_linear and not embeds.dynamic_img_pad:
            raise KeeprateError(
                f"Images of {image_size[0]} x {image_size[1]} pixels cannot be cut into patches of "
                f"{height} x {width}."
            )
        return cast(Grid, embeds.dynamic_feat_size(image_size))

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the patch projection's cost: one product per weight and patch."""
        return self.num_patches(image_size) * int(self.vit.embeds.proj.weight.numel())

    def _own_image_size(self) -> tuple[int, int]:
        embeds = self.vit.embeds
        # the model runs at any size: what it was created for comes first, what its weights were
        # trained at second, the grid of its position embedding (timm's default: 16 x 16) last
        created = getattr(self.vit, "_traits", {}).get("img_size") or embeds.default_img_size
        trained = (getattr(self.vit, "pretrained_cfg", {}).get("input_size") or ())[1:]
        (rows, columns), (height, width) = embeds.pos_embed_grid_size or (16, 16), embeds.patch_size
        return cast("tuple[int, int]", created or trained or (rows * height, columns * width))
