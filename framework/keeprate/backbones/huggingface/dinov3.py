"""transformers' DINOv3, which turns queries and keys by position and has no classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ...backbone import HeadCost, Inputs
from ...tokens import Tokens
from .layouts import DINOV3
from .vision import HFVision, pixels_of

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

Rope = tuple[Tensor, Tensor]
"""Cosines and sines of the patches' angles, (M, d) or looked up for each image, (B, 1, n, d)."""


class HFDinov3(HFVision):
    """DINOv3 of transformers: its features, the normed class token, stand where logits would.

    transformers has no classifier of this model. To compare accuracies, write a family of your own
    that adds one.
    """

    name: ClassVar[str] = "hf-dinov3"
    layouts = DINOV3
    sizes = ("num_heads", "head_dim")
    follows_positions = True

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.num_prefix = 1 + int(self.base.embeddings.register_tokens.shape[1])

    def plain(self, inputs: Inputs) -> Tensor:
        """Return the features (B, C) of the model's own forward pass."""
        return cast(Tensor, self.model(pixels_of(inputs), return_dict=True).pooler_output)

    def context(self, inputs: Inputs) -> Rope:
        """Return cosines and sines (M, d) for the patches of the images."""
        pixels = pixels_of(inputs).to(self._projection().weight.dtype)
        # in the weights' type, as the model does: cosines and sines take the type of the pixels
        return cast(Rope, self.base.rope_embeddings(pixels))

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, layer scale and residual."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.norm1(x)
        rope = self._rope(tokens)
        with reader.around(x_pre, b.attention):
            attended, _ = b.attention(x_pre, position_embeddings=rope)
        return cast(Tensor, b.drop_path(b.layer_scale1(attended)) + x)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        return cast(Tensor, b.drop_path(b.layer_scale2(b.mlp(b.norm2(x)))) + x)

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return the features (B, C)."""
        return cast(Tensor, self.base.norm(tokens.x)[:, 0])

    def head_cost(self) -> HeadCost:
        """Return a cost of 0, since there is no classifier."""
        return HeadCost(0)

    def _rope(self, tokens: Tokens) -> Rope:
        """Return the rotary embedding of the patch tokens that are left."""
        table = cast(Rope, tokens.context)
        if tokens.position is None:  # no token has moved
            return table
        patch = tokens.position[:, self.num_prefix :] - self.num_prefix  # (B, n)
        cos, sin = (torch.nn.functional.embedding(patch, angles)[:, None] for angles in table)
        return cos, sin

    def _patches(self) -> Any:
        return self.base.config  # the projection is a bare convolution, without an image size

    def _projection(self) -> Any:
        return self.base.embeddings.patch_embeddings
