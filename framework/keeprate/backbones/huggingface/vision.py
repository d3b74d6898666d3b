"""transformers' image classifiers: ViT, DeiT, DINOv2 with and without registers, BEiT, SigLIP."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from ...backbone import HeadCost, Inputs
from ...errors import KeeprateError
from ...tokens import Tokens
from ..patch_grid import Grid
from ..pooling import size_weighted
from ..timm.isotropic import linear_macs
from .layouts import BEIT, DINOV2, SIGLIP, VIT
from .transformer import HuggingFace

if TYPE_CHECKING:
    from ...reduction.attention_reader import AttentionReader

PIXELS = "pixel_values"


class HFVision(HuggingFace):
    """The shared part of families of image classifiers: images in, one column of blocks."""

    takes_any_size: ClassVar[bool] = True
    """Whether the model itself resizes its position embeddings for images of another size."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.num_prefix = 1
        self.has_class_token = True
        self.head_reads_prefix_only = True
        self.image_size = _pair(self._patches().image_size)

    @classmethod
    def settings_refusal(cls, model: Any, config: Any) -> str | None:
        """Return which setting is not supported."""
        if config.num_channels != 3:
            return f"it takes {config.num_channels} channels; images here have three"
        return super().settings_refusal(model, config)

    def plain(self, inputs: Inputs) -> Tensor:
        """Return the logits (B, K) of the model's own forward pass."""
        return cast(Tensor, self.model(pixels_of(inputs), return_dict=True).logits)

    def embed(self, inputs: Inputs) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block."""
        pixels = pixels_of(inputs).to(self._projection().weight.dtype)
        return cast(Tensor, self.base.embeddings(pixels))

    @abstractmethod
    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K): final norm, pooling and classifier over the tokens left."""

    def input_size(self, inputs: Inputs) -> tuple[int, int]:
        """Return the (height, width) in pixels of images."""
        height, width = pixels_of(inputs).shape[-2:]
        return height, width

    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return how many whole patches an image has; KeeprateError for a size not taken."""
        if not self.takes_any_size and tuple(image_size) != self.image_size:
            # transformers would only say so when the model runs, in another class of error
            ours, theirs = (
                f"{height} x {width}" for height, width in (self.image_size, image_size)
            )
            raise KeeprateError(
                f"This {type(self.model).__name__} takes images of {ours} pixels, not {theirs}."
            )
        height, width = _pair(self._projection().kernel_size)
        return (image_size[0] // height) * (image_size[1] // width)

    def grid(self, image_size: tuple[int, int]) -> Grid | None:
        """Return the rows and columns of patches, None where part of the image is in no patch."""
        height, width = _pair(self._projection().kernel_size)
        left_over = image_size[0] % height or image_size[1] % width
        return None if left_over else (image_size[0] // height, image_size[1] // width)

    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the patch projection's cost: one product per weight and patch."""
        return self.num_patches(image_size) * int(self._projection().weight.numel())

    def head_cost(self) -> HeadCost:
        """Return what the classifiers cost."""
        return HeadCost(self.classifier_macs())

    def _patches(self) -> Any:
        """Return the part of the model that has the attribute `image_size`."""
        return self.base.embeddings.patch_embeddings

    def _projection(self) -> Any:
        """Return the convolution that turns patches into tokens."""
        return self._patches().projection


class HFViT(HFVision):
    """ViT and DeiT of transformers, DeiT with one classifier or with a second for its teacher."""

    name: ClassVar[str] = "hf-vit"
    layouts = VIT
    takes_any_size = False

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.num_prefix = 2 if hasattr(self.base.embeddings, "distillation_token") else 1

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm and residual."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.layernorm_before(x)
        with reader.around(x_pre, b.attention):
            attended, _ = b.attention(x_pre)
        return cast(Tensor, b.dropout(attended) + x)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm and residual."""
        b = self.blocks[block]
        return cast(Tensor, b.dropout(b.mlp(b.layernorm_after(x))) + x)

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K): with a second classifier, for the teacher, the mean of both."""
        x = self.base.layernorm(tokens.x)
        if not hasattr(self.model, "distillation_classifier"):
            return cast(Tensor, self.model.classifier(x[:, 0]))
        ours, teacher = self.model.cls_classifier, self.model.distillation_classifier
        return cast(Tensor, (ours(x[:, 0]) + teacher(x[:, 1])) / 2)


class HFDinov2(HFVision):
    """DINOv2 of transformers, with and without registers: class token and mean patch classify."""

    name: ClassVar[str] = "hf-dinov2"
    layouts = DINOV2

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        registers = getattr(self.base.embeddings, "register_tokens", None)
        self.num_prefix = 1 if registers is None else 1 + registers.shape[1]
        self.head_reads_prefix_only = False

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, layer scale and residual."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.norm1(x)
        with reader.around(x_pre, b.attention):
            attended, _ = b.attention(x_pre)
        return cast(Tensor, b.drop_path(b.layer_scale1(attended)) + x)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        return cast(Tensor, b.drop_path(b.layer_scale2(b.mlp(b.norm2(x)))) + x)

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the class token and the mean of the patch tokens, joined."""
        x = self.base.layernorm(tokens.x)
        patches = size_weighted(tokens.with_x(x), "avg", False)[:, self.num_prefix :]
        return cast(Tensor, self.model.classifier(torch.cat([x[:, 0], patches.mean(dim=1)], dim=1)))


class HFBeit(HFVision):
    """BEiT of transformers: positions relative to each other, in each block or shared by all."""

    name: ClassVar[str] = "hf-beit"
    layouts = BEIT

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.head_reads_prefix_only = self.base.pooler.layernorm is None
        tables = [self.base.shared_position_bias, *(b.relative_position_bias for b in self.blocks)]
        self.follows_positions = any(table is not None for table in tables)

    def context(self, inputs: Inputs) -> tuple[tuple[int, int], Tensor | None]:
        """Return the rows and columns of patches of an image, and the bias that blocks share."""
        height, width = self.input_size(inputs)
        side = self.base.config.patch_size
        window = height // side, width // side
        shared = self.base.shared_position_bias
        return window, None if shared is None else shared(window)

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm, table of positions, layer scale and residual."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.layernorm_before(x)
        window, bias = cast("tuple[tuple[int, int], Tensor | None]", tokens.context)
        if b.relative_position_bias is not None:
            own = b.relative_position_bias(window)  # (1, H, M, M)
            bias = own if bias is None else own + bias
        # the bias is for all tokens: the reader looks up the rows of those that are left
        with reader.around(x_pre, b.attention, relative=True):
            attended, _ = b.attention(x_pre, attention_mask=bias)
        return cast(Tensor, b.drop_path(b.lambda_1 * b.dropout(attended)) + x)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm, layer scale and residual."""
        b = self.blocks[block]
        return cast(Tensor, b.drop_path(b.lambda_2 * b.dropout(b.mlp(b.layernorm_after(x)))) + x)

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the class token, or from the mean of the patch tokens."""
        x = self.base.layernorm(tokens.x)
        if not self.head_reads_prefix_only:
            x = size_weighted(tokens.with_x(x), "avg", False)
        return cast(Tensor, self.model.classifier(self.base.pooler(x)))


class HFSiglip(HFVision):
    """SigLIP's vision tower of transformers with a classifier on the mean of its patch tokens."""

    name: ClassVar[str] = "hf-siglip"
    layouts = SIGLIP
    takes_any_size = False
    attention = "self_attn"
    sizes = ("num_heads", "head_dim")

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model)
        self.num_prefix = 0
        self.has_class_token = False
        self.head_reads_prefix_only = False

    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run attention with its norm and residual."""
        b, x = self.blocks[block], tokens.x
        x_pre = b.layer_norm1(x)
        with reader.around(x_pre, b.self_attn):
            attended, _ = b.self_attn(x_pre)
        return cast(Tensor, x + attended)

    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run the MLP with its norm and residual."""
        b = self.blocks[block]
        return cast(Tensor, x + b.mlp(b.layer_norm2(x)))

    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the mean of the patch tokens."""
        x = self.base.post_layernorm(tokens.x)
        if self.base.use_head:
            self.base.head(x)  # no logit reads it, but the model computes it, so it counts
        patches = size_weighted(tokens.with_x(x), "avg", True)
        return cast(Tensor, self.model.classifier(patches.mean(dim=1)))

    def head_cost(self) -> HeadCost:
        """Return the cost of the classifier and of the pooling by attention before it."""
        classifier = super().head_cost()
        if not self.base.use_head:
            return classifier
        # MultiheadAttention multiplies by weights outside any Linear: they are counted by hand
        projection = self.channels * self.channels  # for each token
        probe = 2 * projection + linear_macs(self.base.head.mlp)  # its query and output, the MLP
        return HeadCost(classifier.fixed + probe, per_token=2 * projection + 2 * self.channels)

    def _patches(self) -> Any:
        return self.base.embeddings

    def _projection(self) -> Any:
        return self.base.embeddings.patch_embedding


def pixels_of(inputs: Inputs) -> Tensor:
    """Return the images (B, 3, H, W): the inputs themselves, or their entry pixel_values.

    Raises KeeprateError for a mapping that lacks this entry or has another one.
    """
    if isinstance(inputs, Tensor):
        return inputs
    tensors = {name: value for name, value in inputs.items() if value is not None}
    if set(tensors) != {PIXELS}:
        raise KeeprateError(
            f"Images go by the name {PIXELS} alone, not {', '.join(sorted(tensors))}."
        )
    return cast(Tensor, tensors[PIXELS])


def _pair(size: Any) -> tuple[int, int]:
    """Return (height, width) of a size, which may be one side of a square."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
