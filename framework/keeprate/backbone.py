"""The one interface a backbone author implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from .method import Place

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .reduction.attention_reader import AttentionReader
    from .resizing import InputSize
    from .tokens import Tokens

Inputs: TypeAlias = Any
"""What a model is called with: a tensor of images (B, 3, H, W), or a mapping of names to tensors of
B rows each. A family says which it takes."""


@dataclass(frozen=True)
class BlockCost:
    """Multiply-accumulates of one block.

    `attention_per_token` counts its projections, `per_pair` each (query, key) pair of the attention
    matrix and its product with the values, `mlp_per_token` the feed-forward half, and `fixed` the
    work that does not depend on the number of tokens (a table of relative positions).
    """

    attention_per_token: int
    per_pair: int
    mlp_per_token: int
    fixed: int = 0


@dataclass(frozen=True)
class HeadCost:
    """Multiply-accumulates of pooling and classifier: `fixed`, and `per_token` pooled."""

    fixed: int
    per_token: int = 0
    reads_prefix: bool = True
    """Whether prefix tokens are among those that cost `per_token`."""


class Backbone(ABC):
    """Runs a model of one family in pieces: embed, each block's two halves, classify.

    Its pieces, run one after another, must compute exactly what the model computes. They use
    `model` and never change it. The constructor sets the attributes below; an attribute with a
    default here may keep it.
    """

    name: ClassVar[str]
    blocks: Sequence[Any]
    """The model's own blocks, each of which returns tokens, perhaps first in a tuple: (B, N, C), or
    (B, H, W, C) where the tokens are those of a grid."""
    num_prefix: int
    has_class_token: bool
    depth: int
    heads: int
    head_dim: int
    channels: int
    image_size: tuple[int, int]
    head_reads_prefix_only: bool
    """Whether the logits depend on prefix tokens alone (class-token heads)."""
    places: frozenset[Place] = frozenset(Place)
    """Where methods may act: only after the block, if the two halves of a block run in parallel."""
    follows_positions: bool = False
    """Whether blocks look up the position of each token (rotary embeddings, position tables)."""
    text_inputs: ClassVar[tuple[str, ...]] = ()
    """The names of the tensors that a model of texts reads; () for models of images. The size of a
    text is (1, tokens), and its "patches" are all tokens except the class token."""
    maps: int = 1
    """Attention maps a block computes, each in a fused call of its own; their heads are counted
    together in `heads`."""

    resizable: bool = False
    """Whether the family has a rule for other sizes of images and patches (`resized`)."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @classmethod
    @abstractmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return None if this family runs `model`; otherwise say what is missing.

        An empty text says that the model belongs to another family.
        """

    def plain(self, inputs: Inputs) -> Tensor:
        """Return the logits (B, K) of the model itself, run by its own code."""
        logits: Tensor = self.model(inputs)
        return logits

    def example(self, batch: int) -> Inputs:
        """Return random inputs of the model's own size, the same in every process."""
        import torch

        parameter = next(self.model.parameters())
        shape = (batch, getattr(self.model, "in_chans", 3), *self.image_size)
        if parameter.is_meta:
            return torch.empty(shape, device="meta", dtype=parameter.dtype)
        # drawn on the CPU: generators of other devices give other numbers
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return images.to(parameter)

    @classmethod
    def examples(cls) -> Mapping[str, Callable[[], nn.Module]]:
        """Return functions, by name, that build small models on which the family is proved."""
        return {}

    @abstractmethod
    def embed(self, inputs: Inputs) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block, for images (B, 3, H, W)."""

    def context(self, inputs: Inputs) -> object:
        """Return data that the blocks need besides the tokens, the same for all images of a batch.

        The blocks read it as `tokens.context`: a rotary embedding, for example.
        """
        return None

    @abstractmethod
    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run a block's first half, residual included, and return (B, N, C).

        The attention module must run inside `with reader.around(x_pre, module):`, where x_pre
        (B, N, C) is the input of its projections. The reader adds masks and position biases. If
        `tokens.position` is not None, tokens have moved: look up there whatever depends on a
        token's position.
        """

    @abstractmethod
    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run a block's second half, residual included, on x (B, N, C)."""

    @abstractmethod
    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the tokens that leave the last block.

        Averages weigh each token by its size and leave padding out. Attention pooling adds `mask`
        (B, 1, 1, N) to its logits.
        """

    def input_size(self, inputs: Inputs) -> tuple[int, int]:
        """Return the (height, width) in pixels of images, as `num_patches` takes it."""
        height, width = inputs.shape[-2:]
        return height, width

    def parts(self, inputs: Inputs) -> Sequence[tuple[Tensor, Inputs]]:
        """Split inputs of several sizes into (rows int64, inputs of one size).

        An empty list says that all inputs have one size.
        """
        return []

    @abstractmethod
    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return the number of patch tokens of an image of (height, width) pixels."""

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int] | None:
        """Return the rows and columns of the patches of an image of (height, width) pixels.

        Patch tokens come row by row, and rows and columns divide the image evenly. Return None if
        they do not, or if there is no grid: such images cannot be drawn.
        """
        return None

    def resized(self, size: InputSize) -> Backbone:
        """Return the same model for images and patches of other sizes.

        Only families that are `resizable` are asked. They resample the patch kernel and whatever
        depends on a token's place; all other weights are shared, and `model` is left as it is.
        """
        raise NotImplementedError

    @abstractmethod
    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the multiply-accumulates of `embed` for one image."""

    @abstractmethod
    def block_cost(self, block: int) -> BlockCost:
        """Return the cost of one block."""

    @abstractmethod
    def head_cost(self) -> HeadCost:
        """Return the cost of pooling and classifier."""
