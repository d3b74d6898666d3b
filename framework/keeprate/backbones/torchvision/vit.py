"""torchvision's VisionTransformer: ViT-B, L and H, with the weights of SWAG among others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import (
    ConvStemConfig,
    Encoder,
    EncoderBlock,
    MLPBlock,
    VisionTransformer,
)
from torchvision.ops.misc import Conv2dNormActivation

from ...backbone import Backbone, BlockCost, HeadCost
from ...errors import KeeprateError
from ...tokens import Tokens
from ..convolution_macs import embedding_of
from ..patch_grid import Grid
from ..timm.isotropic import altered_refusal, class_refusal, linear_macs, uncounted_refusal

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

_SMALL = {
    "image_size": 32,
    "patch_size": 8,
    "num_layers": 4,
    "num_heads": 4,
    "hidden_dim": 64,
    "mlp_dim": 128,
    "num_classes": 7,
}
_STEM = [ConvStemConfig(out_channels=16, kernel_size=3, stride=stride) for stride in (2, 2, 2)]


class TorchvisionViT(Backbone):
    """Vision Transformers of torchvision; their weights fix the size of images, which are square.

    Where nothing is read or masked, attention is torch's one-kernel shortcut, as in the model.
    """

    name: ClassVar[str] = "torchvision-vit"
    num_prefix = 1
    has_class_token = True
    head_reads_prefix_only = True

    vit: Any
    """The model. Any: its modules are found by name, and their classes checked by `refusal`."""
    blocks: list[Any]

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.vit = model
        self.blocks = list(self.vit.encoder.layers)
        self.depth = len(self.blocks)
        self.channels = self.vit.hidden_dim
        self.heads = self.blocks[0].num_heads
        self.head_dim = self.channels // self.heads
        self.image_size = (self.vit.image_size, self.vit.image_size)

    @classmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return which part of `model` is of no known class, None if all are known."""
        if type(model) is not VisionTransformer:
            inherits = isinstance(model, VisionTransformer)
            return "a subclass of VisionTransformer may compute otherwise" if inherits else ""
        return next(filter(None, _refusals(model)), None)

    @classmethod
    def examples(cls) -> Mapping[str, Callable[[], nn.Module]]:
        """Return how to build small models of the family, by name."""
        # torch's shortcut takes an even number of heads: three show the model without it
        options: dict[str, dict[str, Any]] = {
            "ViT": {},
            "ViT, three heads": {"num_heads": 3, "hidden_dim": 48},
            "ViT, convolutional stem": {"conv_stem_configs": _STEM},
            "ViT, hidden layer in the head": {"representation_size": 24},
        }
        return {name: partial(VisionTransformer, **_SMALL | more) for name, more in options.items()}

    def embed(self, images: Tensor) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        x = self.vit._process_input(images)
        x = torch.cat([self.vit.class_token.expand(len(x), -1, -1), x], dim=1)
        return cast(Tensor, self.vit.encoder.dropout(x + self.vit.encoder.pos_embedding))

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm and residual."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.ln_1(x)
        with reader.around(x_pre, b.self_attention):
            attended, _ = b.self_attention(x_pre, x_pre, x_pre, need_weights=False)
        return cast(Tensor, b.dropout(attended) + x)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm and residual."""
        b = self.blocks[block]
        return cast(Tensor, x + b.mlp(b.ln_2(x)))

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K), which depend on the class token alone."""
        return cast(Tensor, self.vit.heads(self.vit.encoder.ln(tokens.x)[:, 0]))

    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return the number of patches; KeeprateError for images of another size."""
        rows, columns = self.grid(image_size)
        return rows * columns

    def grid(self, image_size: tuple[int, int]) -> Grid:
        """Return the rows and columns of patches; KeeprateError for images of another size."""
        own = self.vit.image_size
        if tuple(image_size) != (own, own):
            height, width = image_size
            raise KeeprateError(
                f"This VisionTransformer of torchvision takes images of {own} x {own} pixels, not "
                f"{height} x {width}."
            )
        side = own // self.vit.patch_size
        return side, side

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the cost of the patch projection, or of the convolutions in place of it."""
        self.num_patches(image_size)
        return self._embedding_macs

    @cached_property
    def _embedding_macs(self) -> int:
        # cached: every cost asks for it, and it runs the convolutions on shapes
        return embedding_of(self.vit.conv_proj, self.image_size).macs

    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs, read off its weights."""
        b = self.blocks[block]
        # MultiheadAttention keeps the weights of q, k and v outside any Linear
        projections = b.self_attention.in_proj_weight.numel() + linear_macs(b.self_attention)
        return BlockCost(projections, 2 * self.channels, linear_macs(b.mlp))

    def head_cost(self) -> HeadCost:
        """Return what the linear layers of the head cost."""
        return HeadCost(linear_macs(self.vit.heads))


def _refusals(model: Any) -> Iterator[str | None]:
    """Yield a reason for each part of a model that is not known, None for the others."""
    # in this order: a check may only look at parts that those before it have found
    yield class_refusal("the encoder", model.encoder, (Encoder,))
    stem = model.conv_proj
    yield class_refusal("the patch projection", stem, (nn.Conv2d, nn.Sequential))
    for layer in stem if type(stem) is nn.Sequential else ():
        yield class_refusal("a layer of the stem", layer, (Conv2dNormActivation, nn.Conv2d))
    yield class_refusal("the head", model.heads, (nn.Sequential,))
    for index, block in enumerate(model.encoder.layers):
        yield class_refusal(f"block {index}", block, (EncoderBlock,))
        attention, where = block.self_attention, f"the attention of block {index}"
        yield class_refusal(where, attention, (nn.MultiheadAttention,))
        yield class_refusal(f"the MLP of block {index}", block.mlp, (MLPBlock,))
        if attention.in_proj_weight is None or attention.bias_k is not None:
            yield f"{where} has keys and values of its own, apart from the tokens'"
        # torch's shortcut leaves out what hangs on the layer inside
        yield altered_refusal((attention, attention.out_proj))
    yield uncounted_refusal(model)
    encoder = model.encoder
    yield altered_refusal((model, encoder, encoder.layers, *encoder.layers))
