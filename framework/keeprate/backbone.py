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
    from .tokens import Tokens

Inputs: TypeAlias = Any
"""What a model is called with: a tensor of images (B, 3, H, W), or a mapping of names to tensors of
B rows each. A family says which it takes."""


@dataclass(frozen=True)
class BlockCost:
    """Multiply-accumulates of one block.

    `attention_per_token` for its projections, `per_pair` for each (query, key) pair of the
    attention matrix and its product with the values, `mlp_per_token` for the feed-forward half,
    `fixed` for what does not depend on the tokens left (a table of relative positions).
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

    Its pieces in a row must compute exactly what the model computes. `model` is used, never
    changed. The constructor sets the attributes below; those with a value here may stay as they
    are.
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
    """Where methods may act: after-block only, where a block's halves run side by side."""
    follows_positions: bool = False
    """Whether blocks look up the position of each token (rotary embeddings, position tables)."""
    text_inputs: ClassVar[tuple[str, ...]] = ()
    """The names of the tensors a model of texts reads; () for models of images. Texts differ in
    length: the size of one is (1, tokens), its "patches" are the tokens but the class token."""
    maps: int = 1
    """Attention maps a block computes, each in a fused call of its own; their heads are counted
    together in `heads`."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    @classmethod
    @abstractmethod
    def refusal(cls, model: nn.Module) -> str | None:
        """Return None if this family runs `model`; otherwise what is missing.

        An empty text says that the model is of another family altogether.
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
        images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        return images.to(parameter)

    @classmethod
    def examples(cls) -> Mapping[str, Callable[[], nn.Module]]:
        """Return how to build small models of the family, by name, to prove it on."""
        return {}

    @abstractmethod
    def embed(self, inputs: Inputs) -> Tensor:
        """Return the tokens (B, N, C) that enter the first block, for images (B, 3, H, W)."""

    def context(self, inputs: Inputs) -> object:
        """Return what the blocks need besides the tokens, the same for every image of the batch.

        It reaches them as `tokens.context`: a rotary embedding, for example.
        """
        return None

    @abstractmethod
    def attend(self, block: int, tokens: Tokens, reader: AttentionReader) -> Tensor:
        """Run a block's first half, residual included, and return (B, N, C).

        The attention module must run inside `with reader.around(x_pre, module):`, where x_pre
        (B, N, C) is the input of its projections. The reader adds masks and position biases. Where
        `tokens.position` is not None, tokens have moved, and whatever belongs to a token's place
        must be looked up there.
        """

    @abstractmethod
    def feed_forward(self, block: int, x: Tensor) -> Tensor:
        """Run a block's second half, residual included, on x (B, N, C)."""

    @abstractmethod
    def classify(self, tokens: Tokens, mask: Tensor | None) -> Tensor:
        """Return logits (B, K) from the tokens that leave the last block.

        Averages weigh each token by its size; padding takes no part. `mask` (B, 1, 1, N) is what
        attention pooling adds to its logits.
        """

    def input_size(self, inputs: Inputs) -> tuple[int, int]:
        """Return the (height, width) in pixels of images, as `num_patches` takes it."""
        height, width = inputs.shape[-2:]
        return height, width

    def parts(self, inputs: Inputs) -> Sequence[tuple[Tensor, Inputs]]:
        """Split inputs of several sizes into (rows int64, inputs of one size).

        An empty list says that all are of one size.
        """
        return []

    @abstractmethod
    def num_patches(self, image_size: tuple[int, int]) -> int:
        """Return how many patch tokens an image of `image_size` (height, width) pixels gives."""

    def grid(self, image_size: tuple[int, int]) -> tuple[int, int] | None:
        """Return the rows and columns of the patches of an image of (height, width) pixels.

        Patch tokens come row by row, and rows and columns part the image evenly. None where they
        do not, or where there are none: such images cannot be drawn.
        """
        return None

    @abstractmethod
    def embed_macs(self, image_size: tuple[int, int]) -> int:
        """Return the multiply-accumulates of `embed` for one image."""

    @abstractmethod
    def block_cost(self, block: int) -> BlockCost:
        """Return what one block costs."""

    @abstractmethod
    def head_cost(self) -> HeadCost:
        """Return what pooling and classifier cost."""
